"""The pages of a part of the list of jobs, and the links between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.http import QueryDict
from django.utils.translation import gettext

from ingestion_progress.models import Job
from ingestion_progress.models.job_orders import JobOrder
from ingestion_progress.models.job_search import MAX_SEARCHED
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.pagination import ListPage, RowCount
from ingestion_progress.web import formatting

PAGE_SIZE = 25


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, and links to those before and after them, which do not depend on numbers: jobs
    that come, end or go meanwhile are neither skipped nor shown twice.
    """

    jobs: Sequence[Job]
    place: str = ""
    """Empty for the only page."""
    before: str = ""
    """The cursor of the first job, if there are jobs before it."""
    after: str = ""
    """The cursor of the last job, if there are jobs after it."""
    is_first: bool = False
    is_newest_first: bool = True
    note: str = ""

    @classmethod
    def read(
        cls,
        parts: Sequence[JobQuerySet],
        query: QueryDict,
        *,
        count: RowCount | None = None,
        order: JobOrder = JobOrder.NEWEST,
    ) -> JobPage:
        """A job is in one of the parts, which have `count` jobs, if that is known.

        The query has a `cursor`, after or `before` which the jobs are, or the number of a `page`.
        Anything invalid is that of a valid page.
        """
        if order.is_of_newest:
            parts, count = order.listed(parts), None
        jobs = _ListedJobs(parts, count or RowCount.of(*parts), order)
        try:
            if cursor := query.get("cursor"):
                return jobs.after(cursor)
            if cursor := query.get("before"):
                return jobs.before(cursor)
        except ValueError:
            pass
        return jobs.numbered(query.get("page"))


@dataclass(frozen=True, slots=True)
class _ListedJobs:
    parts: Sequence[JobQuerySet]
    count: RowCount
    order: JobOrder

    def after(self, cursor: str) -> JobPage:
        """Raises ValueError for an invalid cursor."""
        ordering = self.order.ordering
        page = ListPage.read(*self.parts, limit=PAGE_SIZE, cursor=cursor, order=ordering)
        return self._page(page.rows, self._count_before(page.rows), page.next_cursor)

    def before(self, cursor: str) -> JobPage:
        """The first page if fewer than a page of jobs are before the cursor."""
        ordering = self.order.ordering
        page = ListPage.read(*self.parts, limit=PAGE_SIZE, cursor=cursor, order=ordering.reverse)
        if not page.next_cursor:
            return self.numbered("1")
        rows = page.rows[::-1]
        return self._page(rows, self._count_before(rows), ordering.cursor(rows[-1]))

    def numbered(self, text: str | None) -> JobPage:
        pages = max(1, math.ceil(self.count.number / PAGE_SIZE))
        offset = (_valid_number(text, pages) - 1) * PAGE_SIZE
        ordering = self.order.ordering
        page = ListPage.read(*self.parts, limit=PAGE_SIZE, offset=offset, order=ordering)
        return self._page(page.rows, RowCount.up_to_limit(offset), page.next_cursor)

    def _count_before(self, rows: Sequence[Job]) -> RowCount | None:
        """None without rows, of which a place would be known."""
        if not rows:
            return None
        ordering = self.order.ordering
        first = ordering.cursor(rows[0])
        return RowCount.of(*(ordering.reverse.after(part, first) for part in self.parts))

    def _page(self, rows: Sequence[Job], before: RowCount | None, after: str) -> JobPage:
        is_first = before is not None and before.number == 0
        return JobPage(
            jobs=rows,
            place="" if is_first and not after else self._place(rows, before),
            before="" if is_first or not rows else self.order.ordering.cursor(rows[0]),
            after=after,
            is_first=is_first,
            is_newest_first=self.order is JobOrder.NEWEST,
            note=_note() if self.order.is_of_newest else "",
        )

    def _place(self, rows: Sequence[Job], before: RowCount | None) -> str:
        if before is None or not before.is_exact:
            is_newest_first = self.order is JobOrder.NEWEST
            return gettext("Older jobs") if is_newest_first else gettext("Later jobs")
        first, last = before.number + 1, before.number + len(rows)
        # A job that came since the count makes one more.
        total = formatting.count(max(self.count.number, last))
        return gettext("%(first)s–%(last)s of %(total)s") % {
            "first": formatting.count(first),
            "last": formatting.count(last),
            "total": total if self.count.is_exact else f"{total}+",
        }


def _note() -> str:
    values = {"number": formatting.count(MAX_SEARCHED)}
    return gettext("Sorted among the newest %(number)s jobs.") % values


def _valid_number(text: str | None, pages: int) -> int:
    """The number as Django's paginator reads it: another text is the first page, a larger number
    the last.
    """
    try:
        number = int(text or 1)
    except ValueError:
        return 1
    return min(number, pages) if number > 0 else pages
