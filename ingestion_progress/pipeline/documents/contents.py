"""What is stored of a document: chunks, entities, relations, and the original file."""

from collections.abc import AsyncIterator
from functools import partial
from typing import IO, TypedDict

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header
from ninja import Query, Router

from ingestion_progress.api.errors import error_responses
from ingestion_progress.api.schemas import PageQuery
from ingestion_progress.api.unknown_parameters import refuse_unknown
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.pipeline.documents.access import document_for
from ingestion_progress.pipeline.documents.chunk_order import ordered_chunks
from ingestion_progress.pipeline.documents.schemas import (
    ChunkListSchema,
    ChunkSchema,
    EntityListSchema,
    EntitySchema,
    RelationListSchema,
    RelationSchema,
)
from ingestion_progress.pipeline.exceptions import (
    GraphStoreUnavailable,
    StorageUnavailable,
    StoredFileMissing,
    VectorStoreUnavailable,
)
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stores import graph_store, vector_store
from ingestion_progress.pipeline.stores.graph import GraphStore

READ_BYTES = 256 * 1024
# A stored file is what somebody has uploaded: a browser is to save it, never to show or run it.
FILE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
DOCUMENT = "/documents/{document_id}"
TAGS = ["Documents"]
COPIED = ("page", "heading", "start", "end", "text")
ERRORS = error_responses(ErrorCode.NOT_FOUND, ErrorCode.INVALID_REQUEST)

router = Router()


class Counts(TypedDict):
    chunks: int | None
    entities: int | None
    relations: int | None


def counts(document: Document, epoch: str | None = None) -> Counts:
    """The counts of one edition, or of the published one. None: its store does not answer."""
    epoch = document.published_epoch if epoch is None else epoch
    try:
        chunks = vector_store().count(document.pk, epoch)
    except VectorStoreUnavailable:
        chunks = None
    try:
        graph = graph_store().count(document.pk, epoch)
    except GraphStoreUnavailable:
        return {"chunks": chunks, "entities": None, "relations": None}
    return {"chunks": chunks, "entities": graph.entities, "relations": graph.relations}


@router.get(
    DOCUMENT + "/chunks",
    response={200: ChunkListSchema, **ERRORS, **error_responses(ErrorCode.UNAVAILABLE)},
    summary="The chunks of a document",
    url_name="document_chunks",
    tags=TAGS,
)
def list_chunks(request: HttpRequest, document_id: str, query: Query[PageQuery]) -> ChunkListSchema:
    """The texts that search shows: those of the pages, then the descriptions of pictures."""
    refuse_unknown(request, PageQuery)
    document = document_for(request, document_id)
    chunks = ordered_chunks(document.pk, document.published_epoch)
    return ChunkListSchema(
        items=[
            ChunkSchema(chunk_id=each["chunk"], **{name: each[name] for name in COPIED})
            for each in chunks.read(query.offset, query.limit)
        ],
        total=chunks.total,
        limit=query.limit,
        offset=query.offset,
    )


@router.get(
    DOCUMENT + "/entities",
    response={200: EntityListSchema, **ERRORS, **error_responses(ErrorCode.UNAVAILABLE)},
    summary="The entities of a document",
    url_name="document_entities",
    tags=TAGS,
)
def list_entities(
    request: HttpRequest, document_id: str, query: Query[PageQuery]
) -> EntityListSchema:
    """With the chunks and pages that mention them."""
    refuse_unknown(request, PageQuery)
    store, edition = _graph_of(request, document_id)
    found = store.entities(*edition, offset=query.offset, limit=query.limit)
    return EntityListSchema(
        items=[EntitySchema.of(each) for each in found],
        total=store.count(*edition).entities,
        limit=query.limit,
        offset=query.offset,
    )


@router.get(
    DOCUMENT + "/relations",
    response={200: RelationListSchema, **ERRORS, **error_responses(ErrorCode.UNAVAILABLE)},
    summary="The relations of a document",
    url_name="document_relations",
    tags=TAGS,
)
def list_relations(
    request: HttpRequest, document_id: str, query: Query[PageQuery]
) -> RelationListSchema:
    """With the chunks and pages that mention both entities in one sentence."""
    refuse_unknown(request, PageQuery)
    store, edition = _graph_of(request, document_id)
    found = store.relations(*edition, offset=query.offset, limit=query.limit)
    return RelationListSchema(
        items=[RelationSchema.of(each) for each in found],
        total=store.count(*edition).relations,
        limit=query.limit,
        offset=query.offset,
    )


def _graph_of(request: HttpRequest, document_id: str) -> tuple[GraphStore, tuple[str, str]]:
    """The store, and what search shows of the document: its id and epoch."""
    document = document_for(request, document_id)
    return graph_store(), (document.pk, document.published_epoch)


@router.get(
    DOCUMENT + "/file",
    response={200: None, **error_responses(ErrorCode.NOT_FOUND, ErrorCode.UNAVAILABLE)},
    summary="The original file",
    url_name="document_file",
    tags=TAGS,
    openapi_extra={
        "responses": {
            200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
        }
    },
)
def download_file(request: HttpRequest, document_id: str) -> StreamingHttpResponse:
    """The file of the version that search shows, as it was uploaded. Its name is in
    `Content-Disposition`.
    """
    document = document_for(request, document_id)
    return Download(_opened(document), document, is_async=isinstance(request, ASGIRequest))


class Download(StreamingHttpResponse):
    """Sends an open file, and closes it also if nobody reads it to its end."""

    def __init__(self, file: IO[bytes], document: Document, *, is_async: bool) -> None:
        self._file = file
        disposition = content_disposition_header(as_attachment=True, filename=document.name)
        super().__init__(
            _chunks_async(file) if is_async else iter(partial(file.read, READ_BYTES), b""),
            content_type="application/octet-stream",
            headers={
                **FILE_HEADERS,
                "Content-Length": str(document.size_bytes),
                "Content-Disposition": disposition or "attachment",
                "ETag": f'"{document.sha256}"',
            },
        )

    def close(self) -> None:
        self._file.close()
        super().close()


def _opened(document: Document) -> IO[bytes]:
    try:
        file: IO[bytes] = document.file.open("rb")
    except FileNotFoundError as error:
        raise StoredFileMissing(document.name) from error
    except Exception as error:  # each storage has different errors
        raise StorageUnavailable(document.name) from error
    return file


async def _chunks_async(file: IO[bytes]) -> AsyncIterator[bytes]:
    while data := await sync_to_async(file.read)(READ_BYTES):
        yield data
