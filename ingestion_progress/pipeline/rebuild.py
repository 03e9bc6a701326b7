"""Makes the search index anew from the texts that it stores."""

from collections.abc import Callable

from ingestion_progress.pipeline.components import embedder
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.stores import vector_store
from ingestion_progress.pipeline.stores.embedded.files import has_former_format
from ingestion_progress.pipeline.stores.embedded.former import former_chunks
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors


def rebuild_search_index(on_count: Callable[[int], object] = lambda count: None) -> int:
    """Embeds each stored chunk again, and returns their number.

    A local folder of an older version is converted: its chunks are written into the present format,
    which search uses when it is complete. Can be repeated at any time. `on_count` gets the number
    so far. Raises VectorStoreUnavailable.
    """
    if is_former():
        return _convert(on_count)
    store, embed, count = vector_store(), embedder().embed, 0
    for chunks in store.stored():
        store.replace_vectors([(key, embed(payload["text"])) for key, payload in chunks])
        count += len(chunks)
        on_count(count)
    store.optimize()
    return count


def is_former() -> bool:
    """Has the local folder the format of an older version?"""
    return not conf.qdrant_url and has_former_format(conf.qdrant_path, conf.qdrant_collection)


def _convert(on_count: Callable[[int], object]) -> int:
    store = EmbeddedVectors(f"{conf.qdrant_collection}.rebuilding")
    embed, count = embedder().embed, store.count("")  # 0, and the collection exists
    for chunks in former_chunks(conf.qdrant_path, conf.qdrant_collection):
        store.write_points(
            [
                (key, [*vector.indices], [*vector.values], payload)
                for key, payload in chunks
                for vector in [embed(payload["text"])]
            ]
        )
        count += len(chunks)
        on_count(count)
    store.optimize()
    store.rename(to=conf.qdrant_collection)
    return count
