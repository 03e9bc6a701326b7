"""Pages of long lists, the newest row first, at a cost that does not depend on their length.

Rows are counted up to a limit. A cursor leads to rows of any age, a number only to the first ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from django.core.exceptions import EmptyResultSet
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import Model, QuerySet
from django.db.models.expressions import OrderBy
from django.utils.functional import cached_property

from ingestion_progress.exceptions import InvalidJobId
from ingestion_progress.models.batches import Batch
from ingestion_progress.models.ids import clean_job_id
from ingestion_progress.models.jobs import Job

MAX_COUNTED = 10_000
Order = tuple[str | OrderBy, ...]
ORDER: Order = ("-created_at", "id")
OLDEST_FIRST: Order = ("created_at", "-id")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
INVALID_CURSOR = "Send next_cursor of an earlier answer, or no cursor."

Row = TypeVar("Row", Job, Batch)
AnyRow = TypeVar("AnyRow", bound=Model)


@dataclass(frozen=True, slots=True)
class RowCount:
    """The number of rows, counted up to the limit."""

    limit: ClassVar[int] = MAX_COUNTED
    number: int
    is_exact: bool
    """False: there are more rows."""

    @classmethod
    def of(cls, *parts: QuerySet[Any], column: str = "created_at") -> Self:
        """Counts with one query for each part. The index must have `column`, and is then enough;
        the indexes of filters have the default.
        """
        enough = cls.limit + 1
        counted = sum(rows.order_by().values(column)[:enough].count() for rows in parts)
        return cls.up_to_limit(counted)

    @classmethod
    def up_to_limit(cls, counted: int) -> Self:
        """`counted` is more than the limit if counting stopped there."""
        return cls(min(counted, cls.limit), is_exact=counted <= cls.limit)

    @classmethod
    def sum(cls, counts: Iterable[RowCount]) -> Self:
        listed = list(counts)
        are_exact = all(count.is_exact for count in listed)
        return cls.up_to_limit(sum(count.number for count in listed) + (not are_exact) * cls.limit)

    def without(self, part: RowCount) -> RowCount:
        """The number of rows that are not in `part`, which counts some of them."""
        if not self.is_exact:
            return self
        return RowCount(max(0, self.number - part.number), is_exact=True)

    def __str__(self) -> str:
        return f"{self.number:,}{'' if self.is_exact else '+'}"


def count_parts(parts: Mapping[str, QuerySet[Any]]) -> dict[str, RowCount]:
    """The numbers of rows by name, each counted up to the limit, in one query."""
    selects, params, alias = [], [], ""
    for rows in parts.values():
        limited = rows.order_by().values("created_at")[: RowCount.limit + 1]
        alias = limited.db
        try:
            sql, its_params = limited.query.get_compiler(alias).as_sql()
        except EmptyResultSet:
            selects.append("0")
            continue
        selects.append(f"(SELECT COUNT(*) FROM ({sql}) AS part)")  # noqa: S608 (Django's SQL)
        params += its_params
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(selects)}", params)
        counted = cursor.fetchone()
    return dict(zip(parts, map(RowCount.up_to_limit, counted), strict=True))


@dataclass(frozen=True, slots=True)
class ListCursor:
    """A place in a list, which the deletion of its row does not change."""

    created_at: datetime
    pk: str

    @classmethod
    def after(cls, row: Job | Batch) -> Self:
        return cls(row.created_at, row.pk)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for anything that `str` of a cursor cannot be."""
        if not (found := re.fullmatch(r"([0-9]{16})-(.+)", text)):
            raise ValueError(INVALID_CURSOR)
        try:
            return cls(EPOCH + int(found[1]) * MICROSECOND, clean_job_id(found[2]))
        except InvalidJobId:
            raise ValueError(INVALID_CURSOR) from None

    def __str__(self) -> str:
        return f"{microseconds(self.created_at)}-{self.pk}"


def microseconds(at: datetime) -> str:
    """The time in microseconds, as 16 digits."""
    return f"{(at - EPOCH) // MICROSECOND:016}"


class Ordering(Protocol):
    """An order of a list, and the texts of places in it: cursors."""

    @property
    def terms(self) -> Order:
        """The arguments of `order_by`."""

    @property
    def reverse(self) -> Ordering: ...

    def cursor(self, row: Any) -> str:
        """The place of this row."""

    def after(self, rows: QuerySet[Row], cursor: str) -> QuerySet[Row]:
        """The rows that come later in the list. Raises ValueError for an invalid cursor."""


@dataclass(frozen=True, slots=True)
class ByCreation:
    is_oldest_first: bool = False

    @property
    def terms(self) -> Order:
        return OLDEST_FIRST if self.is_oldest_first else ORDER

    @property
    def reverse(self) -> ByCreation:
        return ByCreation(not self.is_oldest_first)

    def cursor(self, row: Job | Batch) -> str:
        return str(ListCursor.after(row))

    def after(self, rows: QuerySet[Row], cursor: str) -> QuerySet[Row]:
        place = ListCursor.parse(cursor)
        # For `older | same age and …` SQLite would not read one range of an index.
        if self.is_oldest_first:
            newer = rows.filter(created_at__gte=place.created_at)
            return newer.exclude(created_at=place.created_at, pk__gte=place.pk)
        older = rows.filter(created_at__lte=place.created_at)
        return older.exclude(created_at=place.created_at, pk__lte=place.pk)


NEWEST = ByCreation()


@dataclass(frozen=True, slots=True)
class ListPage(Generic[Row]):
    """Some rows of a list and what is known of the rest."""

    rows: Sequence[Row]
    next_cursor: str
    """The cursor of the next page; empty on the last page."""

    @classmethod
    def read(
        cls,
        *parts: QuerySet[Row],
        limit: int,
        offset: int = 0,
        cursor: str = "",
        order: Ordering = NEWEST,
    ) -> ListPage[Row]:
        """One query. A row is in one of the parts; an index should find each in order.

        `offset` counts from the cursor. Raises ValueError for an invalid cursor.
        """
        if cursor:
            parts = tuple(order.after(rows, cursor) for rows in parts)
        end = offset + limit + 1
        found = list(merged(parts, end, order.terms).order_by(*order.terms)[offset:end])
        return cls(found[:limit], order.cursor(found[limit - 1]) if len(found) > limit else "")


def merged(parts: Sequence[QuerySet[Row]], limit: int, order: Order = ORDER) -> QuerySet[Row]:
    """The first `limit` rows of all parts, and perhaps more.

    With `status IN (…)` the database would have to read all of them and sort, or to look for them
    among all jobs.
    """
    if len(parts) == 1:
        return parts[0]
    return first_rows((part.order_by(*order), limit) for part in parts)


def first_rows(parts: Iterable[tuple[QuerySet[AnyRow], int]]) -> QuerySet[AnyRow]:
    """The first rows of each ordered part, up to its limit, in any order and perhaps twice."""
    # SQLite permits the limit in an inner query only.
    first = [
        part.model._default_manager.filter(pk__in=part.values("pk")[:limit]).order_by()
        for part, limit in parts
    ]
    return first[0].union(*first[1:], all=True)


class FirstPages(Paginator):  # type: ignore[type-arg]
    """Pages of the first MAX_COUNTED rows. Filters, searches and cursors find further rows."""

    @cached_property
    def row_count(self) -> RowCount:
        rows: Any = self.object_list
        return RowCount.of(rows)

    @cached_property
    def count(self) -> int:
        return self.row_count.number
