"""The search of the lists of jobs, at a cost that does not grow with the table."""

from typing import TypeVar

from django.db.models import Q, QuerySet

from ingestion_progress.models.jobs import Job, JobQuerySet

# What has no index, such as parts of names, is looked for among only this many jobs.
MAX_SEARCHED = 10_000
Jobs = TypeVar("Jobs", JobQuerySet, QuerySet[Job])


def found_jobs(jobs: Jobs, term: str) -> Jobs:
    """Jobs with this id, document id or batch; if none, newest jobs with the term in their name."""
    if not term:
        return jobs
    # Each of the three has an index.
    exact = jobs.filter(Q(pk=term) | Q(document_id=term) | (Q(batch=term) & ~Q(batch="")))
    if exact.exists():
        return exact
    return newest_jobs(jobs).filter(document_name__icontains=term)


def newest_jobs(jobs: Jobs) -> Jobs:
    """The jobs that are among the newest MAX_SEARCHED of all. One query."""
    newest = Job.objects.order_by("-created_at").values_list("created_at", flat=True)
    oldest = newest[MAX_SEARCHED - 1 : MAX_SEARCHED].first()
    # A value tells PostgreSQL that it is a small part; a subquery would not.
    return jobs if oldest is None else jobs.filter(created_at__gte=oldest)
