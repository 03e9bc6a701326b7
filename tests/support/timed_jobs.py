"""Jobs whose stages began and ended at given seconds, with samples, for the timeline to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ingestion_progress.models import Job, JobSamples, Stage
from ingestion_progress.models.statuses import JobStatus, StageStatus
from ingestion_progress.tracker.former_jobs import plan_digest

Seconds = tuple[float | None, float | None]


def timed_job(
    job_id: str,
    stages: Mapping[str, Seconds],
    *,
    started_at: datetime,
    seconds: float | None = None,
    samples: Sequence[list[Any]] | None = None,
    **fields: Any,
) -> Job:
    """A job that ended after `seconds`, or that runs. Stages begin and end after theirs; each with
    100 of 100 pages if it has ended, and 40 otherwise.
    """
    ended_at = None if seconds is None else started_at + timedelta(seconds=seconds)
    defaults = {
        "status": JobStatus.RUNNING if seconds is None else JobStatus.SUCCEEDED,
        "document_name": "report.pdf",
        "created_at": started_at,
        "updated_at": ended_at or started_at,
        "heartbeat_at": started_at,
    }
    job = Job.objects.create(
        id=job_id, started_at=started_at, finished_at=ended_at, **defaults | fields
    )
    rows = [
        _stage(job, position, name, times) for position, (name, times) in enumerate(stages.items())
    ]
    JobSamples.objects.create(
        job=job,
        attempt=job.attempt,
        stages=list(stages),
        samples=samples or [[0, 0.0, [0] * len(stages), [100] * len(stages), None, 0, 0]],
        plan=plan_digest(job, rows),
        succeeded_at=ended_at if job.status == JobStatus.SUCCEEDED else None,
    )
    return job


def _stage(job: Job, position: int, name: str, times: Seconds) -> Stage:
    start, end = (None if each is None else _after(job, each) for each in times)
    status = StageStatus.PENDING if start is None else StageStatus.IN_PROGRESS
    return Stage.objects.create(
        job=job,
        name=name,
        position=position,
        weight=1,
        status=StageStatus.COMPLETED if end else status,
        processed=0 if start is None else 100 if end else 40,
        total=100,
        unit="pages",
        started_at=start,
        finished_at=end,
    )


def _after(job: Job, seconds: float) -> datetime:
    assert job.started_at is not None
    return job.started_at + timedelta(seconds=seconds)
