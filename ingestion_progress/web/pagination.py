"""The pages of a part of the list of jobs, and the links between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext

from ingestion_progress.models import Job
from ingestion_progress.models.job_orders import JobOrder
from ingestion_progress.models.job_search import MAX_SEARCHED
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.pagination import ListCursor, ListPage, RowCount
from ingestion_progress.web import formatting

PAGE_SIZE = 25


@dataclass(frozen=True, slots=True)
class JobPage:
    """A numbered page of the first jobs, or jobs of any age after a cursor."""

    jobs: Sequence[Job]
    place: str
    """Empty for the only page."""
    newer: int | None = None
    """The number of the page before."""
    older: int | None = None
    older_cursor: str = ""
    """Instead of `older` where no page has a number."""
    is_after_cursor: bool = False
    is_newest_first: bool = True
    note: str = ""

    @classmethod
    def read(
        cls,
        parts: Sequence[JobQuerySet],
        number: str | None = None,
        cursor: str = "",
        *,
        count: RowCount | None = None,
        order: JobOrder = JobOrder.NEWEST,
    ) -> JobPage:
        """A job is in one of the parts, which have `count` jobs, if that is known.

        An invalid number or cursor is that of a valid page.
        """
        if cursor and not order.is_of_newest:
            try:
                return cls._after(parts, cursor, order)
            except ValueError:
                pass
        if order.is_of_newest:
            parts, count = order.listed(parts), None
        return cls._numbered(parts, number, count or RowCount.of(*parts), order)

    @classmethod
    def _after(cls, parts: Sequence[JobQuerySet], cursor: str, order: JobOrder) -> JobPage:
        page = ListPage.read(*parts, limit=PAGE_SIZE, cursor=cursor, order=order.terms)
        is_newest_first = order is JobOrder.NEWEST
        return cls(
            jobs=page.rows,
            place=gettext("Older jobs") if is_newest_first else gettext("Later jobs"),
            older_cursor=page.next_cursor,
            is_after_cursor=True,
            is_newest_first=is_newest_first,
        )

    @classmethod
    def _numbered(
        cls, parts: Sequence[JobQuerySet], text: str | None, count: RowCount, order: JobOrder
    ) -> JobPage:
        pages = max(1, math.ceil(count.number / PAGE_SIZE))
        number = _valid_number(text, pages)
        offset = (number - 1) * PAGE_SIZE
        page = ListPage.read(*parts, limit=PAGE_SIZE, offset=offset, order=order.terms)
        is_last = number == pages
        has_more = is_last and not count.is_exact and page.rows and not order.is_of_newest
        total = f"{formatting.count(pages)}{'' if count.is_exact else '+'}"
        place = gettext("Page %(number)s of %(total)s") % {"number": number, "total": total}
        return cls(
            jobs=page.rows,
            place=place if pages > 1 else "",
            newer=number - 1 if number > 1 else None,
            older=None if is_last else number + 1,
            older_cursor=str(ListCursor.after(page.rows[-1])) if has_more else "",
            is_newest_first=order is JobOrder.NEWEST,
            note=_note() if order.is_of_newest else "",
        )


def _note() -> str:
    values = {"number": formatting.count(MAX_SEARCHED)}
    return gettext("Sorted among the newest %(number)s jobs.") % values


def _valid_number(text: str | None, pages: int) -> int:
    """As Django's paginator does it: the first page for any other text, the last beyond it."""
    try:
        number = int(text or 1)
    except ValueError:
        return 1
    return min(number, pages) if number > 0 else pages
