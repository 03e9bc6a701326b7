"""The result of a job: a card on its page, and a page with all chunks."""

from __future__ import annotations

from typing import Any

from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import InvalidJobId
from ingestion_progress.models import Job, Stage, clean_job_id
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.documents.access import document_page
from ingestion_progress.pipeline.documents.result import (
    ChunkPage,
    ShownEdition,
    chunk_page,
    summary,
)
from ingestion_progress.pipeline.documents.schemas import links
from ingestion_progress.pipeline.documents.versions import is_of
from ingestion_progress.pipeline.models import Document, Edition
from ingestion_progress.web import views

CHUNKS_ON_CARD = 3
CARD = "ingestion_pipeline/result_card.html"
PAGE = "ingestion_pipeline/job_result.html"


def result_card(request: HttpRequest, job: Job) -> str:
    """Implements `extensions.JobCard`: without what is in the stores, which the script requests."""
    context = _context(request, job)
    return render_to_string(CARD, context, request) if context else ""


@require_safe
@vary_on_headers("X-Requested-With")
def job_result(request: HttpRequest, job_id: str) -> HttpResponse:
    """The card with what is in the stores, for its script; otherwise a page with all chunks.

    `page` and `chunk` in the query choose which chunks the page shows.
    """
    if not permissions.may_view(request, job_id, by_token=False):
        return views.refusal(request)
    job = _job(request, job_id)
    context = _context(request, job) if job else {}
    if job is None or not context:
        return views.not_found(request, job_id)
    is_card = request.headers.get("X-Requested-With") == "fetch"
    edition: ShownEdition | None = context["edition"]
    if edition is not None:
        context["summary"] = summary(edition, _page_count(job))
        context["chunks"] = chunks_of(request, edition, size=CHUNKS_ON_CARD if is_card else 0)
    return render(request, CARD if is_card else PAGE, context)


def chunks_of(request: HttpRequest, edition: ShownEdition, *, size: int = 0) -> ChunkPage:
    """The chunks that the query of a request names; with a size the first ones."""
    if size:
        return chunk_page(edition, size=size)
    number, chunk = request.GET.get("page", ""), request.GET.get("chunk", "")
    is_number = number.isascii() and number.isdigit() and len(number) < 8
    return chunk_page(edition, int(number) if is_number else 1, chunk=chunk)


def _job(request: HttpRequest, job_id: str) -> Job | None:
    try:
        found = permissions.jobs_for(request, by_token=False).filter(pk=clean_job_id(job_id))
    except InvalidJobId:
        return None
    return found.first()


def _context(request: HttpRequest, job: Job) -> dict[str, Any]:
    """Empty for a job that does not ingest a document."""
    document = Document.objects.filter(pk=job.document_id).first() if job.document_id else None
    if document is None and job.task != conf.task:
        return {}
    edition = _edition(job, document) if document else None
    page = document_page(request, job.document_id) if document else ""
    is_current = document is not None and is_of(job.document_version, document.sha256)
    return {
        "job": job,
        "document": document,
        "edition": edition,
        "state": _state(job, document, edition),
        "result_url": reverse("ingestion_progress:job_result", args=[job.pk]),
        "document_url": page,
        "file_url": links(job.document_id).file if page and is_current else "",
    }


def _page_count(job: Job) -> int:
    """The number of pages, if known: the chart keeps its width while the job runs."""
    pages = Stage.objects.filter(job=job, unit="pages").aggregate(most=Max("total"))
    return pages["most"] or 0


def _edition(job: Job, document: Document) -> ShownEdition | None:
    """The published one if the job wrote it, or else that of its newest attempt."""
    mine = Edition.objects.filter(document=document, job_id=job.pk)
    epochs = list(mine.values_list("epoch", flat=True))
    for epoch in (document.published_epoch, job.epoch):
        if epoch in epochs:
            return ShownEdition(document=document, epoch=epoch)
    return None


def _state(job: Job, document: Document | None, edition: ShownEdition | None) -> str:
    if document is None:
        return "deleted"
    if edition is not None and edition.is_published:
        return "searchable"
    if not job.is_finished:
        return "growing"
    return "replaced" if job.job_status.has_succeeded else "nothing"
