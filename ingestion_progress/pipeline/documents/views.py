"""The page of a document, with the forms that ingest it again and delete it."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from ingestion_progress.auth import permissions, quotas
from ingestion_progress.exceptions import IngestionProgressError, QuotaExceeded
from ingestion_progress.pipeline.documents.access import document_for, is_whole
from ingestion_progress.pipeline.documents.again import ingest_again
from ingestion_progress.pipeline.documents.cards import chunks_of
from ingestion_progress.pipeline.documents.deletion import delete_document
from ingestion_progress.pipeline.documents.result import ShownEdition, stored_text, summary
from ingestion_progress.pipeline.documents.schemas import links
from ingestion_progress.pipeline.documents.versions import pending_versions
from ingestion_progress.pipeline.exceptions import DocumentNotFound
from ingestion_progress.pipeline.models import Document
from ingestion_progress.web import formatting, views

JOBS_SHOWN = 20


@require_safe
def document_detail(request: HttpRequest, document_id: str) -> HttpResponse:
    if not permissions.may_view(request, "", by_token=False):
        return views.refusal(request)
    try:
        document = document_for(request, document_id, by_token=False)
    except DocumentNotFound:
        return _not_found(request)
    jobs = permissions.jobs_for(request, by_token=False).filter(document_id=document.pk)
    edition = ShownEdition(document=document, epoch=document.published_epoch)
    shown = summary(edition)
    context = {
        "document": document,
        "edition": edition,
        "summary": shown,
        "chunks": chunks_of(request, edition),
        "size": formatting.file_size(document.size_bytes),
        "stored": stored_text(shown.counts),
        "jobs": jobs.order_by("-created_at", "id")[:JOBS_SHOWN],
        "pending_count": pending_versions(document.pk).count(),
        "links": links(document.pk),
        "may_start": permissions.may_start(request),
        "is_whole": is_whole(request, document.pk),
    }
    return render(request, "ingestion_pipeline/document_detail.html", context)


@require_POST
def document_ingestion(request: HttpRequest, document_id: str) -> HttpResponse:
    """Ingests it again, and shows the new job."""
    if not permissions.may_start(request):
        return views.refusal(request)
    try:
        document = _document(request, document_id)
        quotas.count(request, quotas.UPLOADS)
        job = ingest_again(document.pk, owner=permissions.user_of(request))
    except DocumentNotFound:
        return _not_found(request)
    except QuotaExceeded as refused:
        return views.too_many_requests(request, refused.translated())
    except IngestionProgressError as refused:
        messages.warning(request, refused.translated(), fail_silently=True)
        return redirect("ingestion_progress:document_detail", document_id=document_id)
    return redirect("ingestion_progress:job_detail", job_id=job.pk)


@require_POST
def document_deletion(request: HttpRequest, document_id: str) -> HttpResponse:
    if not permissions.may_start(request):
        return views.refusal(request)
    try:
        document = _document(request, document_id)
        if not is_whole(request, document.pk):
            raise PermissionDenied
        delete_document(document.pk, by=permissions.user_name_of(request))
    except DocumentNotFound:
        return _not_found(request)
    except IngestionProgressError as refused:
        messages.warning(request, refused.translated(), fail_silently=True)
        return redirect("ingestion_progress:document_detail", document_id=document_id)
    messages.success(
        request, gettext("%(name)s is deleted.") % {"name": document.name}, fail_silently=True
    )
    return redirect("ingestion_progress:job_list")


def _document(request: HttpRequest, document_id: str) -> Document:
    """Raises DocumentNotFound, also if the user may not view documents."""
    if not permissions.may_view(request, "", by_token=False):
        raise DocumentNotFound(document_id)
    return document_for(request, document_id, by_token=False)


def _not_found(request: HttpRequest) -> HttpResponse:
    return render(request, "ingestion_pipeline/document_not_found.html", status=404)
