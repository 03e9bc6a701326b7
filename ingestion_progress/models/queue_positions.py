"""The place of queued jobs among all that wait for a worker."""

from ingestion_progress.models.job_table import START_ORDER
from ingestion_progress.models.jobs import Job, JobQuerySet

# Later ones have no position: the time to find it would grow with the queue.
MAX_POSITION = 1_000


def jobs_in_line(jobs: JobQuerySet) -> JobQuerySet:
    """Jobs whose task is in the queue, in the order in which the queue should start them."""
    ready = jobs.queued().filter(waits_for_batch=False, retry_at=None)
    return ready.order_by(*START_ORDER)


def queue_positions() -> dict[str, int]:
    """By id, from 1 for the job that should start next. One query."""
    first = jobs_in_line(Job.objects.all()).values_list("pk", flat=True)[:MAX_POSITION]
    return {job_id: position for position, job_id in enumerate(first, start=1)}
