"""What the reference ingestion has written, in Django's admin: to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model
from django.utils.text import Truncator

from ingestion_progress.pipeline.models import Document, Entity, Relation

if TYPE_CHECKING:
    from django.http import HttpRequest

    AnyModelAdmin = admin.ModelAdmin[Model]
else:
    AnyModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(AnyModelAdmin):
    """Ingesting a document writes these rows; ingesting it again replaces them."""

    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Document)
class DocumentAdmin(ReadOnlyAdmin):
    list_display = ("name", "id", "media_type", "size_bytes", "updated_at")
    list_filter = ("media_type", "updated_at")
    search_fields = ("id", "name", "sha256")

    class Media:
        css = {"all": ["ingestion_progress/admin.css"]}


@admin.register(Entity)
class EntityAdmin(ReadOnlyAdmin):
    list_display = ("name", "document", "mentions", "places")
    list_select_related = ("document",)
    search_fields = ("key", "document__name")

    @admin.display(description="mentions")
    def mentions(self, entity: Entity) -> int:
        return len(entity.evidence)

    @admin.display(description="pages")
    def places(self, entity: Entity) -> str:
        return pages_of(entity.evidence)


@admin.register(Relation)
class RelationAdmin(ReadOnlyAdmin):
    list_display = ("source", "target", "document", "places")
    list_select_related = ("document", "source", "target")
    search_fields = ("source__key", "target__key", "document__name")

    @admin.display(description="pages")
    def places(self, relation: Relation) -> str:
        return pages_of(relation.evidence)


def pages_of(evidence: list[dict[str, Any]]) -> str:
    """The pages in order, each once; a long list is cut."""
    pages = sorted({place["page"] for place in evidence if place.get("page")})
    return Truncator(", ".join(str(page) for page in pages)).chars(40) or "-"
