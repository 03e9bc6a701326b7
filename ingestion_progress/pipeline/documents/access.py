"""The documents that exist for a request, and the filters of their list.

With VISIBLE_JOBS a document exists for those who see the job that has written what search shows of
it, or before there is such a job, for those who see one of its jobs.
"""

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.utils import quote
from django.db import router
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import InvalidJobId
from ingestion_progress.models import Job, clean_job_id
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.pipeline.exceptions import DocumentNotFound
from ingestion_progress.pipeline.models import Document, Edition

# Jobs in another database cannot be joined by a query: only this many, the newest, count.
MAX_JOBS = 10_000

IS_SEARCHABLE = Exists(
    Edition.objects.filter(document=OuterRef("pk"), epoch=OuterRef("published_epoch"))
)


def documents_for(request: HttpRequest, *, by_token: bool = True) -> QuerySet[Document]:
    """By name. The request may view the list of jobs."""
    documents = Document.objects.annotate(is_searchable=IS_SEARCHABLE).order_by("name", "pk")
    jobs = permissions.visible_jobs(request, by_token=by_token)
    if jobs is None:
        return documents
    published = Edition.objects.filter(
        epoch=F("document__published_epoch"), job_id__in=values(jobs, "pk")
    )
    has_job = Q(is_searchable=False, pk__in=values(jobs, "document_id"))
    return documents.filter(Q(pk__in=published.values("document_id")) | has_job)


def document_for(request: HttpRequest, document_id: str, *, by_token: bool = True) -> Document:
    """Raises DocumentNotFound, also for an invalid id."""
    try:
        found = documents_for(request, by_token=by_token).filter(pk=clean_job_id(document_id))
    except InvalidJobId:
        raise DocumentNotFound(document_id) from None
    document = found.first()
    if document is None:
        raise DocumentNotFound(document_id)
    return document


def document_page(request: HttpRequest, document_id: str) -> str:
    """Implements `extensions.DocumentPage`."""
    if not permissions.may_view(request, "", by_token=False):
        return ""
    try:
        document = document_for(request, document_id, by_token=False)
    except DocumentNotFound:
        return ""
    return reverse("ingestion_progress:document_detail", args=[document.pk])


def document_admin_page(request: HttpRequest, document_id: str) -> str:
    """Implements `extensions.DocumentPage`, for the admin."""
    user: Any = permissions.user_of(request)
    if user is None or not user.has_perm("ingestion_pipeline.view_document"):
        return ""
    try:
        document = document_for(request, document_id, by_token=False)
        return reverse("admin:ingestion_pipeline_document_change", args=[quote(document.pk)])
    except (DocumentNotFound, NoReverseMatch):  # the admin is optional
        return ""


def is_whole(request: HttpRequest, document_id: str) -> bool:
    """Are all jobs of the document visible? Otherwise the user may not delete it."""
    visible = permissions.visible_jobs(request, by_token=False)
    if visible is None:
        return True
    jobs = Job.objects.filter(document_id=document_id)
    return not jobs.exclude(pk__in=visible.values("pk")).exists()


def with_jobs(documents: QuerySet[Document], jobs: JobQuerySet) -> QuerySet[Document]:
    """The documents that one of the jobs ingests or has ingested."""
    return documents.filter(pk__in=values(jobs, "document_id"))


def newest_by_document(jobs: JobQuerySet) -> JobQuerySet:
    """The newest of the jobs of each document."""
    newer = jobs.filter(
        document_id=OuterRef("document_id"), created_at__gt=OuterRef("created_at")
    ).order_by()
    return jobs.filter(~Exists(newer))


def values(jobs: JobQuerySet, name: str) -> Iterable[Any]:
    """A subquery, or if the jobs are in another database, the values of the newest."""
    if router.db_for_read(Job) == router.db_for_read(Document):
        subquery: Iterable[Any] = jobs.order_by().values(name)
        return subquery
    return list(jobs.order_by("-created_at").values_list(name, flat=True)[:MAX_JOBS])
