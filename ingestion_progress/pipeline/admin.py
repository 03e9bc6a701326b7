"""Admin pages of documents, entities and relations: read-only, apart from two actions."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator

from ingestion_progress.auth import permissions
from ingestion_progress.pipeline.admin_actions import (
    delete_selected_documents,
    ingest_selected_again,
)
from ingestion_progress.pipeline.documents.access import documents_for
from ingestion_progress.pipeline.models import Document, Entity, Relation


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Only the pipeline writes these rows: another ingestion would overwrite changes."""

    list_per_page = 50

    def refuse(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_add_permission = has_change_permission = has_delete_permission = refuse


@admin.register(Document)
class DocumentAdmin(ReadOnlyAdmin):
    actions = (ingest_selected_again, delete_selected_documents)
    list_display = ("name", "id", "media_type", "size_bytes", "updated_at")
    list_filter = ("media_type", "updated_at")
    search_fields = ("id", "name", "sha256")

    class Media:
        css = {"all": ["ingestion_progress/admin.css"]}

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

    @admin.display(description="pages")
    def pages(self, row: Entity | Relation) -> str:
        """The pages in order, each once; a long list is truncated."""
        pages = sorted({mention["page"] for mention in row.evidence if mention.get("page")})
        return Truncator(", ".join(map(str, pages))).chars(40) or "-"


@admin.register(Entity)
class EntityAdmin(GraphAdmin):
    list_display = ("name", "document", "mentions", "pages")
    list_select_related = ("document",)
    search_fields = ("key", "document__name")

    @admin.display(description="mentions")
    def mentions(self, entity: Entity) -> int:
        return len(entity.evidence)


@admin.register(Relation)
class RelationAdmin(GraphAdmin):
    list_display = ("source", "target", "document", "pages")
    list_select_related = ("document", "source", "target")
    search_fields = ("source__key", "target__key", "document__name")
