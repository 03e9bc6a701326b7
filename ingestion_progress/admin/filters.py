"""Filters of the list of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.db.models import QuerySet, Value
from django.db.models.expressions import OrderBy
from django.db.models.functions import NullIf
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


class DateFilter(admin.DateFieldListFilter):
    """Its title is a noun, as other languages need it: the field is called "created at"."""

    TITLES = {"created_at": _("day of creation"), "updated_at": _("day of the last change")}

    def __init__(self, field: Any, *args: Any, **options: Any) -> None:
        super().__init__(field, *args, **options)
        self.title = self.TITLES[field.name]


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


class OrderFilter(admin.SimpleListFilter):
    """Orders by values that have no column. A click on a column takes precedence."""

    title = _("order")
    parameter_name = "sort"
    ORDERS: tuple[tuple[str, Any, OrderBy | str], ...] = (
        ("owner", _("Owner, A to Z"), NullIf("owner_name", Value("")).asc(nulls_last=True)),
        ("failed", _("Most failed items first"), "-failed_items"),
    )

    @classmethod
    def chosen(cls, request: HttpRequest) -> OrderBy | str | None:
        name = request.GET.get(cls.parameter_name)
        return next((order for value, _label, order in cls.ORDERS if value == name), None)

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Job]
    ) -> list[tuple[str, str]]:
        return [(name, str(label)) for name, label, _order in self.ORDERS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset  # the list asks `chosen`

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Without numbers: an order has all jobs."""
        had_numbers, changelist.add_facets = changelist.add_facets, False
        try:
            yield from super().choices(changelist)
        finally:
            changelist.add_facets = had_numbers
