"""Pages of long lists, the newest row first, at a cost that does not depend on their length.

Rows are counted up to a limit. A cursor leads to rows of any age, a number only to the first ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Generic, Self, TypeVar

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

from ingestion_progress.exceptions import InvalidJobId
from ingestion_progress.models.batches import Batch
from ingestion_progress.models.ids import clean_job_id
from ingestion_progress.models.jobs import Job

MAX_COUNTED = 10_000
ORDER = ("-created_at", "id")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
INVALID_CURSOR = "Send next_cursor of an earlier answer, or no cursor."

Row = TypeVar("Row", Job, Batch)


@dataclass(frozen=True, slots=True)
class RowCount:
    """The number of rows, counted up to the limit."""

    limit: ClassVar[int] = MAX_COUNTED
    number: int
    is_exact: bool
    """False: there are more."""

    @classmethod
    def of(cls, *parts: QuerySet[Any], column: str = "created_at") -> Self:
        """One query for each part. `column`: one that the index has, which is then enough. Those of
        filters have the default.
        """
        enough = cls.limit + 1
        counted = sum(rows.order_by().values(column)[:enough].count() for rows in parts)
        return cls(min(counted, cls.limit), is_exact=counted < enough)


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
        return f"{(self.created_at - EPOCH) // MICROSECOND:016}-{self.pk}"

    def rest(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Those that come later in the list."""
        # Not `older | same age and …`, of which SQLite would not read one range of an index.
        older = rows.filter(created_at__lte=self.created_at)
        return older.exclude(created_at=self.created_at, pk__lte=self.pk)


@dataclass(frozen=True, slots=True)
class ListPage(Generic[Row]):
    """Some rows of a list and what is known of the rest."""

    rows: Sequence[Row]
    next_cursor: str
    """Empty on the last page."""

    @classmethod
    def read(
        cls, *parts: QuerySet[Row], limit: int, offset: int = 0, cursor: str = ""
    ) -> ListPage[Row]:
        """One query. A row is in one of the parts; an index should find each in order.

        `offset` counts from the cursor. Raises ValueError for an invalid cursor.
        """
        if cursor:
            parts = tuple(map(ListCursor.parse(cursor).rest, parts))
        end = offset + limit + 1
        found = list(_merged(parts, end).order_by(*ORDER)[offset:end])
        has_next = len(found) > limit
        return cls(found[:limit], str(ListCursor.after(found[limit - 1])) if has_next else "")


def _merged(parts: Sequence[QuerySet[Row]], limit: int) -> QuerySet[Row]:
    """At least the first `limit` rows of all parts.

    With `status IN (…)` the database would have to read all of them and sort, or to look for them
    among all jobs.
    """
    if len(parts) == 1:
        return parts[0]
    # SQLite permits the limit in an inner query only.
    first = [
        part.model._default_manager.filter(
            pk__in=part.order_by(*ORDER).values("pk")[:limit]
        ).order_by()
        for part in parts
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
