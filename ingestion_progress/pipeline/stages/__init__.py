"""The data that the stages exchange: pages, pictures, chunks, vectors and entities."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, BinaryIO, Protocol, Self, runtime_checkable

from ingestion_progress.exceptions.sentences import StoredSentence

LANGUAGE = r"[a-z]{2,3}"
"""The pattern of a code of ISO 639."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image in a document, with the text that surrounds it."""

    number: int
    """From 1, in the order of the document."""
    page: int | None = None
    """From 1; None where the format has no pages."""
    format: str = ""
    """`PNG`, `JPEG` …; empty if unknown."""
    width: int = 0
    height: int = 0
    """Pixels; 0 if unknown."""
    alt: str = ""
    caption: str = ""
    heading: str = ""
    """The nearest heading above it."""
    source: str = ""
    """The file or address that the document names. It is never fetched."""
    reference: int | None = None
    """Where its page contains it, for the parser; None if the document only names it."""
    content: Callable[[], bytes] | None = field(default=None, repr=False, compare=False)
    """Reads it, as a file in the parser, and as a JPEG of bounded size in the worker. May raise
    UnreadableImage. It is not stored."""

    @property
    def key(self) -> str:
        return f"i-{self.number}"


def page_label(number: int) -> str:
    return StoredSentence("page %(number)s", number=number)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page, or the whole of a document that has no pages."""

    number: int | None
    text: str
    is_markdown: bool = False
    """Headings in the text are lines that begin with `#`."""
    heading: str = ""
    """The section in which the page begins, from the document's outline."""
    pictures: tuple[Picture, ...] = ()
    warnings: tuple[str, ...] = ()
    """Sentences for the job's log."""
    unread: str = ""
    """Why words of the page were not read, as a sentence: the page counts as failed."""

    @property
    def label(self) -> str:
        return page_label(self.number) if self.number else StoredSentence("document")

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        pictures = tuple(replace(picture, content=None) for picture in self.pictures)
        fields = asdict(replace(self, pictures=pictures))
        for picture in fields["pictures"]:
            del picture["content"]
        return fields

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """The inverse of `fields`, after JSON."""
        pictures = tuple(Picture(**picture) for picture in fields["pictures"])
        return cls(**fields | {"pictures": pictures, "warnings": tuple(fields["warnings"])})


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A piece of text that is embedded, searched and shown as one."""

    key: str
    """Unique within its document: `c-17`, or `i-3` for the third picture."""
    text: str
    page: int | None = None
    start: int = 0
    end: int = 0
    """Offsets in characters into the text of its page; both 0 for a picture."""
    heading: str = ""
    language: str = ""
    """A code of ISO 639, as `de`; empty if unknown."""

    @property
    def number(self) -> int:
        """Its key in the stages: 17 for `c-17`, -3 for `i-3`."""
        return chunk_number(self.key)


def chunk_number(key: str) -> int:
    kind, _, number = key.partition("-")
    return -int(number) if kind == "i" else int(number)


@dataclass(frozen=True)
class SparseVector:
    """`values[n]` is the weight of the word whose id is `indices[n]`."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class DenseVector:
    """A model's vector of a text. Vectors of one model are near if their texts mean the same."""

    model: str
    values: Sequence[float]


@dataclass(frozen=True)
class Embedding:
    """What a chunk is stored with, or a query is searched with."""

    sparse: SparseVector
    """Its words; empty if there are none."""
    dense: DenseVector | None = None
    """Its meaning; None without a model."""


@dataclass(frozen=True)
class Extraction:
    """The entities and relations of one chunk."""

    entities: dict[str, str] = field(default_factory=dict)
    """Names by key, the most relevant first."""
    relations: tuple[tuple[str, str], ...] = ()
    """Pairs of keys, each pair once, the smaller key first."""
    types: dict[tuple[str, str], str] = field(default_factory=dict)
    """Types of relations, if known, from a source to a target: `("ada", "acme"): "works for"`.
    Their pairs are also in `relations`."""


class Pages(Protocol):
    """The pages of an opened document, read one by one: a damaged page does not affect others."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Page:
        """The page at `index`, from 0. Raises UnreadablePage."""


@runtime_checkable
class PicturePages(Pages, Protocol):
    """Pages that find a picture without reading its page. Other parsers set `content`."""

    def picture(self, index: int, reference: int) -> bytes:
        """The file of a picture of the page at `index`. Raises UnreadableImage."""


class Parser(Protocol):
    """Reads one kind of document."""

    def open(self, file: BinaryIO, name: str) -> Pages:
        """Raises UnreadableDocument with a sentence that names the document."""
