from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from ingestion_progress.exceptions import InvalidBatch
from ingestion_progress.models import Job, clean_batch


class BatchFilter(admin.SimpleListFilter):
    """The batch that the page of a job led to: there may be too many to list them."""

    title = "batch"
    parameter_name = "batch"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Job]
    ) -> list[tuple[str, str]]:
        batch = self.value()
        return [(batch, batch)] if batch else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        batch = self.value()
        if not batch:
            return queryset
        try:
            return queryset.filter(batch=clean_batch(batch))
        except InvalidBatch:  # a database may choke on such a name
            return queryset.none()
