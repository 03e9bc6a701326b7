"""The actions of the list of documents in the admin: ingest again, and delete."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext, gettext_lazy, ngettext

from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import AccessRefused, ErrorCode, IngestionProgressError
from ingestion_progress.models import Job
from ingestion_progress.pipeline.documents.access import is_whole
from ingestion_progress.pipeline.documents.again import ingest_again
from ingestion_progress.pipeline.documents.contents import counts
from ingestion_progress.pipeline.documents.deletion import delete_document
from ingestion_progress.pipeline.documents.result import stored_text
from ingestion_progress.pipeline.documents.versions import pending_versions
from ingestion_progress.pipeline.models import Document
from ingestion_progress.web import formatting

# Further ones are counted, not listed.
MAX_SHOWN = 20
MAX_REASONS = 5


@admin.action(description=gettext_lazy("Ingest selected documents again"), permissions=["start"])
def ingest_selected_again(
    documents: admin.ModelAdmin[Document], request: HttpRequest, queryset: QuerySet[Document]
) -> None:
    owner = permissions.user_of(request)
    done = _act(documents, request, queryset, lambda each: ingest_again(each.pk, owner=owner))
    if done:
        text = gettext("Queued: %(documents)s.") % {"documents": _count(done)}
        documents.message_user(request, text, messages.SUCCESS)
        message = "Requested to be ingested again."
        LogEntry.objects.log_actions(permissions.user_id_of(request), done, CHANGE, message)


@admin.action(description=gettext_lazy("Delete selected documents"), permissions=["start"])
def delete_selected_documents(
    documents: admin.ModelAdmin[Document], request: HttpRequest, queryset: QuerySet[Document]
) -> HttpResponse | None:
    """After a page that says what goes."""
    if request.POST.get("confirmed") != "yes":
        return _confirmation(documents, request, queryset)

    def delete(document: Document) -> None:
        if not is_whole(request, document.pk):
            raise AccessRefused(ErrorCode.FORBIDDEN)
        delete_document(document.pk, by=permissions.user_name_of(request))

    if done := _act(documents, request, list(queryset), delete):
        text = gettext("Deleted: %(documents)s.") % {"documents": _count(done)}
        documents.message_user(request, text, messages.SUCCESS)
        LogEntry.objects.log_actions(permissions.user_id_of(request), done, DELETION)
    return None


def _confirmation(
    documents: admin.ModelAdmin[Document], request: HttpRequest, queryset: QuerySet[Document]
) -> HttpResponse:
    ids = list(queryset.values_list("pk", flat=True))
    context = documents.admin_site.each_context(request) | {
        "title": gettext("Are you sure?"),
        "total": len(ids),
        "rest": len(ids) - MAX_SHOWN,
        "chosen": [_what_goes(document) for document in queryset[:MAX_SHOWN]],
        "document_ids": ids,
        "action": delete_selected_documents.__name__,
        "checkbox_name": ACTION_CHECKBOX_NAME,
        "opts": documents.opts,
    }
    return TemplateResponse(request, "ingestion_pipeline/admin_deletion.html", context)


def _what_goes(document: Document) -> dict[str, Any]:
    return {
        "document": document,
        "stored": stored_text(counts(document)),
        "files": 1 + pending_versions(document.pk).count(),
        "active": Job.objects.active().filter(document_id=document.pk).count(),
    }


def _act(
    documents: admin.ModelAdmin[Document],
    request: HttpRequest,
    chosen: Iterable[Document],
    act: Callable[[Document], object],
) -> list[Document]:
    """Acts on each, and shows why some were refused. Returns the others."""
    done, reasons = [], []
    for document in chosen:
        try:
            act(document)
        except IngestionProgressError as refused:
            reasons.append(refused.translated())
        else:
            done.append(document)
    if reasons:
        shown = " ".join(reasons[:MAX_REASONS])
        rest = len(reasons) - MAX_REASONS
        if rest > 0:
            shown += " " + gettext("And %(number)s more.") % {"number": rest}
        text = gettext("Not done: %(reasons)s") % {"reasons": shown}
        documents.message_user(request, text, messages.WARNING)
    return done


def _count(done: list[Document]) -> str:
    text = ngettext("%(number)s document", "%(number)s documents", len(done))
    return text % {"number": formatting.count(len(done))}
