"""The search and the pages of the job list, at a cost that does not grow with the table."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.utils.functional import cached_property

from ingestion_progress.models import Job

# Parts of names have no index, so only this many jobs are searched for them.
MAX_SEARCHED = 10_000
MAX_COUNTED = 10_000


class FirstPages(Paginator):  # type: ignore[type-arg]
    """Counts at most MAX_COUNTED rows. Filters and the search find older jobs."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        counted: int = rows.order_by()[:MAX_COUNTED].count()
        return counted


def found_jobs(jobs: QuerySet[Job], term: str) -> QuerySet[Job]:
    """Jobs with this id, document id or batch; if none, newest jobs with the term in their name."""
    if not term:
        return jobs
    # Each of the three has an index.
    exact = jobs.filter(Q(pk=term) | Q(document_id=term) | (Q(batch=term) & ~Q(batch="")))
    if exact.exists():
        return exact
    newest = Job.objects.order_by("-created_at", "id").values("pk")[:MAX_SEARCHED]
    return jobs.filter(pk__in=newest, document_name__icontains=term)
