"""The pages of the list of jobs, and the links between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingestion_progress.models import Job
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.pagination import ORDER, FirstPages, ListCursor, ListPage

PAGE_SIZE = 25


@dataclass(frozen=True, slots=True)
class JobPage:
    """A numbered page of the first jobs, or jobs of any age after a cursor."""

    jobs: Sequence[Job]
    api_query: dict[str, object]
    """Of the same page in the API, without filters."""
    place: str
    """Empty for the only page."""
    newer: int | None = None
    """The number of the page before."""
    older: int | None = None
    older_cursor: str = ""
    """Instead of `older` where no page has a number."""
    is_after_cursor: bool = False

    @classmethod
    def read(cls, jobs: JobQuerySet, number: str | None, cursor: str) -> JobPage:
        """An invalid number or cursor is that of a valid page."""
        if cursor:
            try:
                return cls._after(jobs, cursor)
            except ValueError:
                pass
        return cls._numbered(jobs, number)

    @classmethod
    def _after(cls, jobs: JobQuerySet, cursor: str) -> JobPage:
        page = ListPage.read(jobs, limit=PAGE_SIZE, cursor=cursor)
        return cls(
            jobs=page.rows,
            api_query={"limit": PAGE_SIZE, "cursor": cursor},
            place="Older jobs",
            older_cursor=page.next_cursor,
            is_after_cursor=True,
        )

    @classmethod
    def _numbered(cls, jobs: JobQuerySet, number: str | None) -> JobPage:
        pages = FirstPages(jobs.order_by(*ORDER), PAGE_SIZE)
        page = pages.get_page(number)
        found = list(page.object_list)
        is_whole = pages.row_count.is_exact
        has_more = not (is_whole or page.has_next())
        place = f"Page {page.number} of {pages.num_pages:,}{'' if is_whole else '+'}"
        return cls(
            jobs=found,
            api_query={"limit": PAGE_SIZE, "offset": (page.number - 1) * PAGE_SIZE},
            place=place if page.has_other_pages() else "",
            newer=page.previous_page_number() if page.has_previous() else None,
            older=page.next_page_number() if page.has_next() else None,
            older_cursor=str(ListCursor.after(found[-1])) if has_more and found else "",
        )
