"""Read-only admin pages of documents, entities and relations."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.text import Truncator

from ingestion_progress.pipeline.models import Document, Entity, Relation


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Only the pipeline writes these rows: another ingestion would overwrite changes."""

    list_per_page = 50

    def refuse(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_add_permission = has_change_permission = has_delete_permission = refuse


@admin.register(Document)
class DocumentAdmin(ReadOnlyAdmin):
    list_display = ("name", "id", "media_type", "size_bytes", "updated_at")
    list_filter = ("media_type", "updated_at")
    search_fields = ("id", "name", "sha256")

    class Media:
        css = {"all": ["ingestion_progress/admin.css"]}


class GraphAdmin(ReadOnlyAdmin):
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
