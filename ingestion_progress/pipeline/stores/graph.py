"""What every store of the graph of entities and relations has in common."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self, TypeAlias

from ingestion_progress.pipeline.stages import Chunk, Extraction

Extracted: TypeAlias = tuple[Chunk, Extraction]
Mention: TypeAlias = dict[str, str | int | None]
"""`chunk`, its key, and `page`, its number or None. Of a relation also `type`, what the chunk says
of its source and target, and `reverse`, what it says of its target and source, if this is known."""
Statement: TypeAlias = tuple[str, str, str]
"""Source, type and target; the type is empty if it is unknown."""
Place: TypeAlias = tuple[str, str, str]
"""Document, epoch and key of a stored chunk."""

# The most stored mentions of an entity or relation: more do not improve a search.
MAX_MENTIONS = 200


@dataclass(frozen=True, kw_only=True)
class GraphWrites:
    """Numbers of entities and relations that were created, or that are stored."""

    entities: int
    relations: int

    def __add__(self, other: Self) -> Self:
        return replace(
            self,
            entities=self.entities + other.entities,
            relations=self.relations + other.relations,
        )

    def __sub__(self, other: Self) -> Self:
        return replace(
            self,
            entities=self.entities - other.entities,
            relations=self.relations - other.relations,
        )


@dataclass(frozen=True, kw_only=True)
class StoredEntity:
    name: str
    mentions: Sequence[Mention]


@dataclass(frozen=True, kw_only=True)
class StoredRelation:
    """Two entities, by their names."""

    source: str
    target: str
    mentions: Sequence[Mention]

    @property
    def statements(self) -> list[Statement]:
        """All that is known of the two, each once; empty without types."""
        found = [each for mention in self.mentions for each in self.stated_by(mention)]
        return [statement for statement in dict.fromkeys(found) if statement[1]]

    def stated_by(self, mention: Mention) -> list[Statement]:
        """By one chunk: at least that the two are related."""
        there, back = str(mention.get("type") or ""), str(mention.get("reverse") or "")
        stated = [(self.source, there, self.target)] if there or not back else []
        return [*stated, (self.target, back, self.source)] if back else stated


@dataclass(frozen=True, kw_only=True)
class Mentioned:
    """What chunks mention, in the order in which it was created if the store knows that."""

    entities: Mapping[Place, list[str]] = field(default_factory=lambda: defaultdict(list))
    relations: Mapping[Place, list[Statement]] = field(default_factory=lambda: defaultdict(list))


class GraphWriter(Protocol):
    """The graph of one edition, for one attempt. Thread-safe.

    Every call raises JobSuperseded if another attempt writes the edition now, and the errors of
    GraphStore.
    """

    def adopt(self, former: Sequence[str]) -> GraphWrites:
        """Takes over what earlier editions contain, and returns what is stored then.

        Can be repeated. The editions of these epochs are discarded later, unless search shows them.
        """

    def write(self, results: Sequence[Extracted]) -> GraphWrites:
        """Adds the entities and relations of chunks, all or none, and each mention once.

        Returns what is new.
        """


class GraphStore(Protocol):
    """Every call raises GraphStoreUnavailable if the store cannot be used in time, of which
    GraphStoreBusy may pass, and GraphRefused if it does not take the values. Thread-safe.
    """

    def writer(self, document_id: str, job_id: str, epoch: str) -> GraphWriter: ...

    def count(self, document_id: str, epoch: str) -> GraphWrites:
        """What is stored of an edition, written by any process."""

    def entities(
        self,
        document_id: str,
        epoch: str,
        *,
        offset: int,
        limit: int,
        most_mentioned_first: bool = False,
    ) -> list[StoredEntity]:
        """The entities of an edition in the order of their keys.

        `most_mentioned_first`: those with more mentions before others.
        """

    def relations(
        self,
        document_id: str,
        epoch: str,
        *,
        offset: int,
        limit: int,
        most_mentioned_first: bool = False,
    ) -> list[StoredRelation]:
        """The relations of an edition in the order of the keys of their two entities.

        `most_mentioned_first`: those with more mentions before others.
        """

    def mentioned(self, places: Collection[Place]) -> Mentioned:
        """What these chunks mention, and perhaps others."""

    def discard(self, document_id: str, epoch: str | None = None) -> None:
        """Deletes all of an edition, or of the document. Can be repeated."""


class Found:
    """What was extracted from some chunks, with the chunks that mention it."""

    def __init__(self, results: Sequence[Extracted]) -> None:
        self.names: dict[str, str] = {}
        """The names of the entities, by key."""
        self.entities: defaultdict[str, list[Mention]] = defaultdict(list)
        self.relations: defaultdict[tuple[str, str], list[Mention]] = defaultdict(list)
        for chunk, extraction in results:
            mention: Mention = {"chunk": chunk.key, "page": chunk.page}
            self.names = extraction.entities | self.names
            for key in extraction.entities:
                self.entities[key].append(mention)
            for pair in extraction.relations:
                self.relations[pair].append(mention | _types(extraction, pair))


def _types(extraction: Extraction, pair: tuple[str, str]) -> Mention:
    source, target = pair
    ends = {"type": (source, target), "reverse": (target, source)}
    return {name: extraction.types[each] for name, each in ends.items() if each in extraction.types}
