"""Filters of the list of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ingestion_progress.auth.permissions import OWN
from ingestion_progress.exceptions import InvalidBatch
from ingestion_progress.models import Job, clean_batch
from ingestion_progress.models.about import About
from ingestion_progress.models.statuses import JobResult

if TYPE_CHECKING:
    from ingestion_progress.models.jobs import JobQuerySet


class BatchFilter(admin.SimpleListFilter):
    """Offers only the batch in the URL, because there may be too many to list."""

    title = _("batch")
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
            return cast("JobQuerySet", queryset).of_batch(clean_batch(batch))
        except InvalidBatch:  # PostgreSQL rejects NUL characters
            return queryset.none()


class AboutFilter(admin.SimpleListFilter):
    """Offers only the object in the URL, such as `shop.order:17`."""

    title = _("object")
    parameter_name = "about"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Job]
    ) -> list[tuple[str, str]]:
        about = self.value()
        return [(about, about)] if about else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        about = self.value()
        if not about:
            return queryset
        try:
            return queryset.filter(About.parse(about).condition)
        except ValueError:
            return queryset.none()


class OwnerFilter(admin.SimpleListFilter):
    """Offers the jobs of the user who is logged in, because there may be too many users to list."""

    title = _("owner")
    parameter_name = "owned_by"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Job]
    ) -> list[tuple[str, str]]:
        return [(OWN, gettext("Me"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        if self.value() != OWN:
            return queryset
        return cast("JobQuerySet", queryset).owned_by(request.user)


class ResultFilter(admin.SimpleListFilter):
    """Filters by result: a success with failed items is `partial`."""

    title = _("result")
    parameter_name = "result"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Job]
    ) -> list[tuple[str, str]]:
        return [(result.value, str(result.label)) for result in JobResult]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        result = self.value()
        return cast("JobQuerySet", queryset).with_result(result) if result else queryset
