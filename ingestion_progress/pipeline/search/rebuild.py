"""Rebuilds the search index from the texts that it stores."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from ingestion_progress.pipeline.components import dense_embedder, embedder
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.stages import Embedding
from ingestion_progress.pipeline.stages.dense_embedding import dense_vectors
from ingestion_progress.pipeline.stages.languages import DocumentLanguages, Votes
from ingestion_progress.pipeline.stores import vector_store
from ingestion_progress.pipeline.stores.chunk_id import positioned
from ingestion_progress.pipeline.stores.embedded.files import has_former_format
from ingestion_progress.pipeline.stores.embedded.former import former_chunks
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
from ingestion_progress.pipeline.stores.languages import add_languages, replace_languages
from ingestion_progress.pipeline.stores.vectors import StoredChunk


def rebuild_search_index(on_count: Callable[[int], object] = lambda count: None) -> int:
    """Embeds each stored chunk again, and returns their number.

    A local folder of an older version is converted: its chunks are written into the present format,
    which search uses when it is complete. Chunks of an older version get a language. Can be
    repeated at any time. `on_count` gets the number so far. Raises VectorStoreUnavailable.
    """
    if is_former():
        return _convert(on_count)
    store, count = vector_store(), 0
    languages = StoredLanguages(store.stored())

    def changed(chunks: Sequence[StoredChunk]) -> list[tuple[Embedding, str]]:
        nonlocal count
        count += len(chunks)
        on_count(count)
        found = languages.of(chunks)
        return list(zip(_embeddings(chunks, found), found, strict=True))

    store.rewrite(changed)
    store.optimize()
    replace_languages(languages.codes)
    return count


def is_former() -> bool:
    """Has the local folder the format of an older version?"""
    return not conf.qdrant_url and has_former_format(conf.qdrant_path, conf.qdrant_collection)


class StoredLanguages:
    """The languages of stored chunks: as stored, or detected where an older version wrote them."""

    def __init__(self, stored: Iterable[Sequence[StoredChunk]]) -> None:
        """Reads all chunks, because those of a document are not stored together."""
        self.codes: set[str] = set()
        votes = defaultdict[str, Votes](Votes)
        for chunks in stored:
            for _key, payload in chunks:
                if payload.get("language") is None and not conf.document_language:
                    votes[payload["document_id"]].add(payload["text"])
        self._documents = {
            document_id: DocumentLanguages(each.language) for document_id, each in votes.items()
        }
        self._others = DocumentLanguages(
            conf.document_language, is_given=bool(conf.document_language)
        )

    def of(self, chunks: Sequence[StoredChunk]) -> list[str]:
        found = []
        for _key, payload in chunks:
            language = payload.get("language")
            if language is None:
                document = self._documents.get(payload["document_id"], self._others)
                language = document.of_chunk(payload["text"])
            found.append(language)
        if missing := set(found) - self.codes:
            add_languages(missing)
            self.codes |= missing
        return found


def _embeddings(chunks: Sequence[StoredChunk], languages: Sequence[str]) -> list[Embedding]:
    texts = [payload["text"] for _key, payload in chunks]
    embed = embedder().embed
    sparse = [embed(text, language) for text, language in zip(texts, languages, strict=True)]
    return list(map(Embedding, sparse, dense_vectors(dense_embedder(), texts)))


def _convert(on_count: Callable[[int], object]) -> int:
    store = EmbeddedVectors(f"{conf.qdrant_collection}.rebuilding")
    count = store.count("")  # 0, and the collection exists
    stored = partial(former_chunks, conf.qdrant_path, conf.qdrant_collection)
    languages = StoredLanguages(stored())
    for chunks in stored():
        found = languages.of(chunks)
        embeddings = _embeddings(chunks, found)
        store.write_points(
            [
                (key, embedding, positioned(payload, language=language))
                for (key, payload), embedding, language in zip(
                    chunks, embeddings, found, strict=True
                )
            ]
        )
        count += len(chunks)
        on_count(count)
    store.optimize()
    store.rename(to=conf.qdrant_collection)
    replace_languages(languages.codes)
    return count
