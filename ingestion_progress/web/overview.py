"""The first page of the list: some jobs of each group, whatever was created later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from ingestion_progress.models import Job
from ingestion_progress.models.job_groups import JobGroup
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.pagination import OLDEST_FIRST, ORDER, first_rows
from ingestion_progress.models.queue_positions import jobs_in_line

SHOWN: Mapping[JobGroup, int] = {
    JobGroup.ATTENTION: 10,
    JobGroup.RUNNING: 50,
    JobGroup.WAITING: 10,
    JobGroup.DONE: 25,
}


def read_overview(
    jobs: JobQuerySet, now: datetime, positions: Mapping[str, int], *, folded: Sequence[str] = ()
) -> dict[JobGroup, Sequence[Job]]:
    """Some jobs of each group, the newest first, in one query; waiting ones by their position.

    Of the batches with the ids in `folded` it leaves out the jobs that wait or are done.
    """
    unfolded = jobs.exclude(batch__in=folded) if folded else jobs
    parts = [
        (part.order_by(*ORDER), SHOWN[group])
        for group in JobGroup
        if group is not JobGroup.WAITING
        for part in group.parts(unfolded if group is JobGroup.DONE else jobs, now)
    ]
    # Jobs that are not in line, because they wait for their batch or a pause, follow the others.
    waiting = SHOWN[JobGroup.WAITING]
    parts += [
        (jobs_in_line(unfolded), waiting),
        (unfolded.queued().order_by(*OLDEST_FIRST), 2 * waiting),
    ]
    found = {job.pk: job for job in first_rows(parts)}
    newest = sorted(found.values(), key=lambda job: job.created_at, reverse=True)
    return {
        group: _shown(group, [job for job in newest if JobGroup.of(job, now) is group], positions)
        for group in JobGroup
    }


def _shown(group: JobGroup, jobs: list[Job], positions: Mapping[str, int]) -> Sequence[Job]:
    if group is JobGroup.WAITING:
        jobs = _by_position(jobs, positions)
    return jobs[: SHOWN[group]]


def _by_position(jobs: Iterable[Job], positions: Mapping[str, int]) -> list[Job]:
    last = len(positions) + 1
    return sorted(jobs, key=lambda job: (positions.get(job.pk, last), job.created_at))
