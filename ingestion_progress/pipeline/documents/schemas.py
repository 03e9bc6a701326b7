"""The data that the operations on documents take and return."""

from datetime import datetime
from typing import Annotated, Self

from django.urls import reverse
from pydantic import BaseModel, BeforeValidator, Field

from ingestion_progress.api.schemas import (
    JobSchema,
    OptionalId,
    PageQuery,
    ResultName,
    StatusName,
    split_commas,
)
from ingestion_progress.models import Job
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stores.graph import StoredEntity, StoredRelation

NAMESPACE = "ingestion_progress:api:"


class DocumentListQuery(PageQuery):
    name: str = Field(default="", max_length=255, description="A part of the name, in any case.")
    batch: OptionalId = Field(
        default=None, description="Only documents that a job of this batch ingests or has ingested."
    )
    media_type: Annotated[list[str], BeforeValidator(split_commas)] = Field(
        default=[],
        max_length=20,
        description="Only these media types, as `application/pdf`: repeated or comma-separated.",
    )
    status: Annotated[list[StatusName], BeforeValidator(split_commas)] = Field(
        default=[],
        description="Only with these statuses of the newest job: repeated or comma-separated.",
    )


class DocumentLinksSchema(BaseModel):
    document: str = Field(description="The document as JSON. DELETE here to delete it.")
    file: str = Field(description="The original file.")
    chunks: str = Field(description="Its chunks.")
    entities: str = Field(description="Its entities.")
    relations: str = Field(description="Its relations.")
    jobs: str = Field(description="Its jobs. POST here to ingest it again.")


class DocumentJobSchema(BaseModel):
    job_id: str
    status: StatusName
    result: ResultName | None = Field(description="null until it has ended.")
    created_at: datetime
    link: str = Field(description="The job as JSON.")

    @classmethod
    def of(cls, job: Job) -> Self:
        fields = {
            "job_id": job.pk,
            "status": job.job_status.value,
            "result": job.result.value if job.result else None,
            "created_at": job.created_at,
            "link": reverse(NAMESPACE + "job", args=[job.pk]),
        }
        return cls.model_validate(fields)


class DocumentSchema(BaseModel):
    """A document in a list. The fields of its file are those of the version that search shows."""

    document_id: str
    name: str
    media_type: str
    size_bytes: int = Field(ge=0)
    sha256: str
    language: str = Field(description="As given with the upload, as `de`; empty: it is detected.")
    created_at: datetime
    updated_at: datetime
    is_searchable: bool = Field(description="Is a version of it complete?")
    job: DocumentJobSchema | None = Field(description="The newest; null if none is left.")
    links: DocumentLinksSchema


class DocumentListSchema(BaseModel):
    items: list[DocumentSchema]
    total: int = Field(ge=0, description="Number of matching documents on all pages.")
    limit: int
    offset: int


class VersionSchema(BaseModel):
    """A version whose file is stored."""

    name: str
    media_type: str
    size_bytes: int = Field(ge=0)
    sha256: str
    is_searchable: bool
    job: DocumentJobSchema | None = Field(
        description="The job that has written what search shows of it, or else its newest job."
    )


class DocumentDetailSchema(DocumentSchema):
    """A document with its versions, and how much is stored of it."""

    versions: list[VersionSchema] = Field(
        description="The one of the document first, then newer ones that are not complete."
    )
    chunks: int | None = Field(ge=0, description="null if the vector store does not answer.")
    entities: int | None = Field(ge=0, description="null if the graph store does not answer.")
    relations: int | None = Field(ge=0, description="The same.")


class DocumentJobListSchema(BaseModel):
    items: list[JobSchema]
    total: int = Field(ge=0)
    limit: int
    offset: int


class ChunkSchema(BaseModel):
    chunk_id: str = Field(description="Unique within its document.")
    page: int | None = Field(description="From 1; null where the format has no pages.")
    heading: str = Field(description="The heading of its section; may be empty.")
    start: int = Field(ge=0, description="Where it begins in the text of its page, in characters.")
    end: int = Field(ge=0)
    text: str


class MentionSchema(BaseModel):
    chunk_id: str
    page: int | None


class EntitySchema(BaseModel):
    name: str
    mentions: list[MentionSchema] = Field(description="At most 200.")

    @classmethod
    def of(cls, entity: StoredEntity) -> Self:
        return cls(name=entity.name, mentions=mentions(entity))


class StatementSchema(BaseModel):
    """What the document says of two entities."""

    source: str
    type: str = Field(description="Read from the source to the target, such as `works for`.")
    target: str


class RelationSchema(BaseModel):
    """Two entities that occur in one sentence, or of which an extractor knows more."""

    source: str
    target: str
    statements: list[StatementSchema] = Field(
        description="In any of the two directions; empty if only the sentence is known."
    )
    mentions: list[MentionSchema] = Field(description="At most 200.")

    @classmethod
    def of(cls, relation: StoredRelation) -> Self:
        return cls(
            source=relation.source,
            target=relation.target,
            statements=[
                StatementSchema(source=source, type=kind, target=target)
                for source, kind, target in relation.statements
            ],
            mentions=mentions(relation),
        )


class ChunkListSchema(BaseModel):
    items: list[ChunkSchema] = Field(description="In the order of the document.")
    total: int = Field(ge=0)
    limit: int
    offset: int


class EntityListSchema(BaseModel):
    items: list[EntitySchema] = Field(description="In the order of their names.")
    total: int = Field(ge=0)
    limit: int
    offset: int


class RelationListSchema(BaseModel):
    items: list[RelationSchema]
    total: int = Field(ge=0)
    limit: int
    offset: int


def mentions(found: StoredEntity | StoredRelation) -> list[MentionSchema]:
    return [
        MentionSchema.model_validate({"chunk_id": each["chunk"], "page": each["page"]})
        for each in found.mentions
    ]


def links(document_id: str) -> DocumentLinksSchema:
    names = ("file", "chunks", "entities", "relations", "jobs")
    paths = {name: reverse(f"{NAMESPACE}document_{name}", args=[document_id]) for name in names}
    return DocumentLinksSchema(
        document=reverse(NAMESPACE + "document", args=[document_id]), **paths
    )


def described(document: Document, job: Job | None) -> DocumentSchema:
    """`document` is one of `documents_for`."""
    return DocumentSchema(
        document_id=document.pk,
        name=document.name,
        media_type=document.media_type,
        size_bytes=document.size_bytes,
        sha256=document.sha256,
        created_at=document.created_at,
        updated_at=document.updated_at,
        language=document.language,
        is_searchable=document.is_searchable,  # type: ignore[attr-defined]
        job=DocumentJobSchema.of(job) if job else None,
        links=links(document.pk),
    )
