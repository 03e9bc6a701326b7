"""The store of vectors in a local folder."""

import base64
import logging
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import VectorStoreBusy, VectorStoreUnavailable
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stages import Embedding
from ingestion_progress.pipeline.stores.chunk_id import point_id
from ingestion_progress.pipeline.stores.embedded.connections import ProcessUnavailable, connections
from ingestion_progress.pipeline.stores.vectors import (
    Change,
    EmbeddedChunk,
    Match,
    StoredChunk,
    payload_of,
)
from ingestion_progress.tracker import reason_of
from ingestion_progress.tracker.reasons import UNEXPECTED

logger = logging.getLogger("ingestion_progress.pipeline")

# A batch takes well below a second. Users wait for a read.
WRITE_TIMEOUT_SECONDS = 60.0
READ_TIMEOUT_SECONDS = 10.0
OPTIMIZE_TIMEOUT_SECONDS = 600.0
COPY_BATCH = 1000

BUSY = StoredSentence(
    "The search index is in use by another process. Try again in a moment, or set QDRANT_URL to a "
    "Qdrant server."
)
CRASHING = StoredSentence(
    "The process of the search index was ended several times: is there enough memory, and free "
    "space on the disk?"
)
SENTENCES = {
    "former": StoredSentence(
        "Its format is that of an older version: convert it with `manage.py rebuild_search_index`."
    ),
    "newer": StoredSentence(
        "A newer version has written it: update this one, or delete its folder and ingest the "
        "documents again."
    ),
    "long": StoredSentence("The path of its folder is too long: choose a shorter QDRANT_PATH."),
    "not_started": StoredSentence(
        "Its process does not start: is the package qdrant-edge-py installed?"
    ),
    "dimensions": StoredSentence(
        "The vectors of DENSE_EMBEDDER have another length than others of its name: give it "
        "another name, and run `manage.py rebuild_search_index`."
    ),
    "damaged": StoredSentence(
        "Its files may be damaged: delete its folder and ingest the documents again."
    ),
}


class EmbeddedVectors:
    """An OrderedVectorStore. Its folder is served by one process of the host (see the package)."""

    def __init__(self, collection: str = "") -> None:
        self._collection = collection or conf.qdrant_collection

    def write(self, document: Document, epoch: str, chunks: Sequence[EmbeddedChunk]) -> int:
        points = [
            (point_id(document.pk, epoch, chunk.key), embedding, payload_of(document, epoch, chunk))
            for chunk, embedding in chunks
        ]
        self.write_points(points)
        return len(points)

    def write_points(self, points: Sequence[tuple[str, Embedding, dict[str, Any]]]) -> None:
        """Points: id, vectors, payload."""
        if points:
            sent = [(key, _vectors(embedding), payload) for key, embedding, payload in points]
            self._ask("write", WRITE_TIMEOUT_SECONDS, points=sent)

    def adopt(
        self,
        document_id: str,
        epoch: str,
        former: Sequence[str],
        is_done: Callable[[str], bool] = lambda key: True,
    ) -> int:
        for each in former:
            done = list(filter(is_done, self.chunk_keys(document_id, each)))
            for start in range(0, len(done), COPY_BATCH):
                self._ask(
                    "copy",
                    WRITE_TIMEOUT_SECONDS,
                    document_id=document_id,
                    former=each,
                    epoch=epoch,
                    chunks=done[start : start + COPY_BATCH],
                )
        return self.count(document_id, epoch) if former else 0

    def discard(self, document_id: str, epoch: str | None = None) -> None:
        self._ask("discard", WRITE_TIMEOUT_SECONDS, document_id=document_id, epoch=epoch)

    def search(
        self,
        query: Embedding,
        limit: int,
        *,
        dense_weight: float = 0.3,
        hidden: Iterable[tuple[str, str]] = (),
        documents: Sequence[str] | None = None,
        pages: Sequence[int] = (),
        languages: Sequence[str] = (),
    ) -> list[Match]:
        if not (query.sparse.indices or query.dense):
            return []
        found = self._ask(
            "search",
            READ_TIMEOUT_SECONDS,
            vectors=_vectors(query),
            dense_weight=dense_weight,
            limit=limit,
            hidden=list(hidden),
            documents=None if documents is None else list(documents),
            pages=list(pages),
            languages=list(languages),
        )
        return [Match(payload=payload, score=score) for payload, score in found]

    def count(self, document_id: str, epoch: str | None = None) -> int:
        found: int = self._ask("count", READ_TIMEOUT_SECONDS, document_id=document_id, epoch=epoch)
        return found

    def count_by_page(self, document_id: str, epoch: str) -> dict[int, int]:
        pairs = self._ask(
            "count_by_page", READ_TIMEOUT_SECONDS, document_id=document_id, epoch=epoch
        )
        return {int(page): int(count) for page, count in pairs}

    def chunk_keys(self, document_id: str, epoch: str) -> list[str]:
        keys: list[str] = self._ask(
            "chunks", READ_TIMEOUT_SECONDS, document_id=document_id, epoch=epoch
        )
        return keys

    def read(self, document_id: str, epoch: str, keys: Sequence[str]) -> list[dict[str, Any]]:
        payloads: list[dict[str, Any]] = self._ask(
            "read", READ_TIMEOUT_SECONDS, document_id=document_id, epoch=epoch, chunks=list(keys)
        )
        return payloads

    def count_between(self, document_id: str, epoch: str, first: int, end: int) -> int:
        found: int = self._ask(
            "count_between",
            READ_TIMEOUT_SECONDS,
            document_id=document_id,
            epoch=epoch,
            first=first,
            end=end,
        )
        return found

    def read_from(
        self, document_id: str, epoch: str, position: int, limit: int
    ) -> list[dict[str, Any]]:
        payloads: list[dict[str, Any]] = self._ask(
            "read_from",
            READ_TIMEOUT_SECONDS,
            document_id=document_id,
            epoch=epoch,
            position=position,
            limit=limit,
        )
        return payloads

    def stored(self) -> Iterator[Sequence[StoredChunk]]:
        offset = None
        while True:
            points, offset = self._ask("page", READ_TIMEOUT_SECONDS, offset=offset)
            yield [(key, payload) for key, payload in points]
            if offset is None:
                return

    def rewrite(self, changed: Change) -> None:
        """Page by page. Chunks that are deleted meanwhile stay deleted."""
        for chunks in self.stored():
            keys = [key for key, _payload in chunks]
            pairs = zip(keys, changed(chunks), strict=True)
            self.replace_vectors([(key, *pair) for key, pair in pairs])

    def replace_vectors(self, points: Sequence[tuple[str, Embedding, str]]) -> None:
        changed = [(key, _vectors(embedding), language) for key, embedding, language in points]
        self._ask("replace_vectors", WRITE_TIMEOUT_SECONDS, points=changed)

    def optimize(self) -> None:
        """Merges segments and frees space. Takes seconds, for which all others wait."""
        self._ask("optimize", OPTIMIZE_TIMEOUT_SECONDS)

    def rename(self, to: str) -> None:
        """Gives the collection another name, which must be unused."""
        self._ask("rename", WRITE_TIMEOUT_SECONDS, to=to)

    def _ask(self, name: str, timeout_seconds: float, **arguments: Any) -> Any:
        request = {"name": name, "collection": self._collection, "arguments": arguments}
        try:
            answer = connections(conf.qdrant_path).ask(request, timeout_seconds)
        except TimeoutError:
            raise VectorStoreBusy(BUSY) from None
        except ProcessUnavailable as refusal:
            answer = {"error": refusal.error}
        except ConnectionError:
            answer = {"error": {"kind": "crashing"}}
        except OSError as error:  # its socket is another user's
            answer = {"error": {"errno": error.errno, "text": str(error)}}
        if found := answer.get("error"):
            raise _refusal(found)
        return answer["result"]


def _refusal(error: dict[str, Any]) -> VectorStoreUnavailable:
    """Logs an error of an answer, and makes a sentence of it."""
    kind, number = error.get("kind"), error.get("errno")
    if kind == "taken":
        return VectorStoreBusy(BUSY)
    if kind == "crashing":
        return VectorStoreBusy(CRASHING)
    folder = str(conf.qdrant_path)
    logger.error("search_index_broken", extra={"folder": folder, "reason": error.get("text")})
    sentence: str = SENTENCES.get(kind or "", UNEXPECTED)
    if number is not None:
        sentence = reason_of(OSError(number, os.strerror(number)))
    return VectorStoreUnavailable(
        StoredSentence("The search index cannot be used. %(reason)s", reason=sentence)
    )


def _vectors(embedding: Embedding) -> dict[str, Any]:
    """Vectors in the form of `shard.py`."""
    sparse, dense = embedding.sparse, embedding.dense
    found: dict[str, Any] = {"sparse": [list(sparse.indices), list(sparse.values)]}
    if dense is not None:
        found["model"] = dense.model
        found["dense"] = base64.b64encode(array("f", dense.values).tobytes()).decode()
    return found
