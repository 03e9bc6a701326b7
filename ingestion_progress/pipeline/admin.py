"""Admin pages of documents, entities and relations: read-only, apart from two actions."""

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext, gettext_lazy

from ingestion_progress.admin import JobsAboutMixin, display
from ingestion_progress.admin.fields import time_of
from ingestion_progress.admin.filters import DateFilter
from ingestion_progress.auth import permissions
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.pipeline.documents.access import documents_for
from ingestion_progress.pipeline.documents.admin_actions import (
    delete_selected_documents,
    ingest_selected_again,
)
from ingestion_progress.pipeline.models import Document, Entity, Relation
from ingestion_progress.web import formatting

UPDATED_AT = time_of("updated_at")


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Only the pipeline writes these rows: another ingestion would overwrite changes."""

    list_per_page = 50

    def refuse(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_add_permission = has_change_permission = has_delete_permission = refuse


def _link(view: str, document: Document, text: str) -> str:
    url = display.url(view, document.pk)
    return format_html('<a href="{}">{}</a>', url, text) if url else display.EMPTY


@admin.register(Document)
class DocumentAdmin(JobsAboutMixin, ReadOnlyAdmin):
    """Its page shows the jobs that ingest the document."""

    actions = (ingest_selected_again, delete_selected_documents)
    list_display = ("name", "id", "media_type", "size", UPDATED_AT)
    list_filter = ("media_type", ("updated_at", DateFilter))
    search_fields = ("id", "name", "sha256")
    fields = (
        *("name", "id", "original_file", "document_page", "media_type", "size", "sha256"),
        *("language", time_of("created_at"), UPDATED_AT),
    )
    readonly_fields = fields

    def jobs_of(self, jobs: JobQuerySet, obj: Model) -> JobQuerySet:
        return jobs.filter(document_id=obj.pk)

    def query_of_jobs(self, obj: Model) -> dict[str, str]:
        return {"document_id": str(obj.pk)}

    @admin.display(description=gettext_lazy("size"), ordering="size_bytes")
    def size(self, document: Document) -> str:
        return formatting.file_size(document.size_bytes)

    @admin.display(description=gettext_lazy("file"))
    def original_file(self, document: Document) -> str:
        """By the API, which checks permissions; the storage need not have a URL for it."""
        return _link("api:document_file", document, gettext("Download"))

    @admin.display(description=gettext_lazy("page"))
    def document_page(self, document: Document) -> str:
        return _link("document_detail", document, gettext("Chunks, entities and text"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        return documents_for(request, by_token=False)

    def has_start_permission(self, request: HttpRequest) -> bool:
        return permissions.may_start(request)


class GraphAdmin(ReadOnlyAdmin):
    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if permissions.visible_jobs(request, by_token=False) is None:
            return rows
        visible = documents_for(request, by_token=False).order_by()
        return rows.filter(document__in=visible.values("pk"))

    @admin.display(description=gettext_lazy("pages"))
    def pages(self, row: Entity | Relation) -> str:
        """The pages in order, each once; a long list is truncated."""
        pages = sorted({mention["page"] for mention in row.evidence if mention.get("page")})
        return Truncator(", ".join(map(str, pages))).chars(40) or "-"


@admin.register(Entity)
class EntityAdmin(GraphAdmin):
    list_display = ("name", "document", "mentions", "pages")
    list_select_related = ("document",)
    search_fields = ("key", "document__name")

    @admin.display(description=gettext_lazy("mentions"))
    def mentions(self, entity: Entity) -> int:
        return len(entity.evidence)


@admin.register(Relation)
class RelationAdmin(GraphAdmin):
    list_display = ("source", "target", "document", "pages")
    list_select_related = ("document", "source", "target")
    search_fields = ("source__key", "target__key", "document__name")
