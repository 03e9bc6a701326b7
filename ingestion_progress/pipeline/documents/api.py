"""Operations on documents: list, show, delete, ingest again."""

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Status

from ingestion_progress.api.auth import MayStart
from ingestion_progress.api.errors import ApiError, error_responses
from ingestion_progress.api.schemas import (
    CreatedJobSchema,
    PageQuery,
    describe_created_job,
    describe_job,
)
from ingestion_progress.api.unknown_parameters import refuse_unknown
from ingestion_progress.auth import permissions, quotas
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.pipeline.documents.access import (
    document_for,
    documents_for,
    is_whole,
    newest_by_document,
    with_jobs,
)
from ingestion_progress.pipeline.documents.again import ingest_again
from ingestion_progress.pipeline.documents.contents import DOCUMENT, counts
from ingestion_progress.pipeline.documents.deletion import delete_document
from ingestion_progress.pipeline.documents.schemas import (
    DocumentDetailSchema,
    DocumentJobListSchema,
    DocumentJobSchema,
    DocumentListQuery,
    DocumentListSchema,
    VersionSchema,
    described,
)
from ingestion_progress.pipeline.documents.versions import is_of, pending_versions
from ingestion_progress.pipeline.models import Document, Edition, PendingVersion
from ingestion_progress.wire.snapshots import load_snapshots

DOCUMENTS = "/documents"
TAGS = ["Documents"]
# The jobs of a document that are searched for those of its versions.
MAX_JOBS = 1000

router = Router()


@router.get(
    DOCUMENTS,
    response={200: DocumentListSchema, **error_responses(ErrorCode.INVALID_REQUEST)},
    summary="List documents by name",
    url_name="documents",
    tags=TAGS,
)
def list_documents(request: HttpRequest, query: Query[DocumentListQuery]) -> DocumentListSchema:
    """One page of documents with their newest jobs. Unknown parameters are refused."""
    refuse_unknown(request, DocumentListQuery)
    documents, jobs = documents_for(request), permissions.jobs_for(request)
    if query.name:
        documents = documents.filter(name__icontains=query.name)
    if query.media_type:
        documents = documents.filter(media_type__in=query.media_type)
    if query.batch:
        documents = with_jobs(documents, jobs.of_batch(query.batch))
    if query.status:
        documents = with_jobs(documents, newest_by_document(jobs).filter(status__in=query.status))
    page = list(documents[query.slice])
    newest = newest_of_each(jobs, page)
    return DocumentListSchema(
        items=[described(document, newest.get(document.pk)) for document in page],
        total=documents.count(),
        limit=query.limit,
        offset=query.offset,
    )


@router.get(
    DOCUMENT,
    response={200: DocumentDetailSchema, **error_responses(ErrorCode.NOT_FOUND)},
    summary="Get one document",
    url_name="document",
    tags=TAGS,
)
def get_document(request: HttpRequest, document_id: str) -> DocumentDetailSchema:
    """Its versions, its newest job, and the numbers of its chunks, entities and relations."""
    document = document_for(request, document_id)
    jobs = permissions.jobs_for(request).filter(document_id=document.pk).order_by("-created_at")
    return DocumentDetailSchema(
        **described(document, jobs.first()).model_dump(),
        versions=_versions(document, jobs),
        **counts(document),
    )


@router.delete(
    DOCUMENT,
    response={204: None, **error_responses(ErrorCode.NOT_FOUND, ErrorCode.UNAVAILABLE)},
    summary="Delete a document",
    url_name="document",
    tags=TAGS,
    auth=MayStart(),
)
def remove_document(request: HttpRequest, document_id: str) -> Status[None]:
    """Deletes it for good, with its files, chunks, entities and relations.

    Its queued and running jobs are cancelled, and nothing that they still write remains. The
    records of its jobs stay. Requires that all of its jobs exist for the user.
    """
    document = document_for(request, document_id, by_token=False)
    if not is_whole(request, document.pk):
        raise ApiError(ErrorCode.FORBIDDEN)
    delete_document(document.pk, by=permissions.user_name_of(request))
    return Status(204, None)


@router.get(
    DOCUMENT + "/jobs",
    response={
        200: DocumentJobListSchema,
        **error_responses(ErrorCode.NOT_FOUND, ErrorCode.INVALID_REQUEST),
    },
    summary="The jobs of a document, newest first",
    url_name="document_jobs",
    tags=TAGS,
)
def list_document_jobs(
    request: HttpRequest, document_id: str, query: Query[PageQuery]
) -> DocumentJobListSchema:
    """One page of its jobs with their progress."""
    refuse_unknown(request, PageQuery)
    document = document_for(request, document_id)
    jobs = permissions.jobs_for(request).filter(document_id=document.pk)
    now = database_now()
    page = jobs.order_by("-created_at", "id")[query.slice]
    snapshots = load_snapshots(page, with_workers=False)
    return DocumentJobListSchema(
        items=[describe_job(each, now) for each in snapshots.values()],
        total=jobs.count(),
        limit=query.limit,
        offset=query.offset,
    )


@router.post(
    DOCUMENT + "/jobs",
    response={
        201: CreatedJobSchema,
        **error_responses(ErrorCode.NOT_FOUND, ErrorCode.JOB_ACTIVE, ErrorCode.TOO_MANY_REQUESTS),
        **error_responses(ErrorCode.UNAVAILABLE),
    },
    summary="Ingest a document again",
    url_name="document_jobs",
    tags=TAGS,
    auth=MayStart(),
)
def ingest_document_again(
    request: HttpRequest, response: HttpResponse, document_id: str
) -> Status[CreatedJobSchema]:
    """Queues a job for the stored file. Search shows the present text until it is complete.

    Counts as an upload. 409 while a job of the same version is queued or running.
    """
    document = document_for(request, document_id, by_token=False)
    quotas.count(request, quotas.UPLOADS)
    job = ingest_again(document.pk, owner=permissions.user_of(request))
    created = describe_created_job(job)
    response["Location"] = created.links.job
    return Status(201, created)


def newest_of_each(jobs: JobQuerySet, documents: list[Document]) -> dict[str, Job]:
    """The newest job by document id."""
    found = jobs.filter(document_id__in=[document.pk for document in documents])
    return {job.document_id: job for job in newest_by_document(found).order_by("created_at", "pk")}


def _versions(document: Document, jobs: JobQuerySet) -> list[VersionSchema]:
    published = Edition.objects.filter(document=document, epoch=document.published_epoch)
    job_ids = set(published.values_list("job_id", flat=True))
    found = list(jobs[:MAX_JOBS])
    stored: list[Document | PendingVersion] = [document, *pending_versions(document.pk)]
    versions = []
    for version in stored:
        of_version = [job for job in found if is_of(job.document_version, version.sha256)]
        is_searchable = version is document and bool(job_ids)
        if is_searchable:
            of_version = [job for job in found if job.pk in job_ids]
        versions.append(
            VersionSchema(
                name=version.name,
                media_type=version.media_type,
                size_bytes=version.size_bytes,
                sha256=version.sha256,
                is_searchable=is_searchable,
                job=DocumentJobSchema.of(of_version[0]) if of_version else None,
            )
        )
    return versions
