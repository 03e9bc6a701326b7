"""What the page of a job shows of its time: three queries, however many stages it has."""

from datetime import datetime
from typing import Any

from ingestion_progress.models import JobSamples
from ingestion_progress.web.presenters import job_view
from ingestion_progress.web.samples import samples_view, stage_rows
from ingestion_progress.web.timeline import add_timeline
from ingestion_progress.web.usual_runs import usual_run
from ingestion_progress.wire.snapshots import Snapshot


def timeline_context(snapshot: Snapshot, now: datetime) -> dict[str, Any]:
    """The view of the job with its timeline, its charts, and both as tables."""
    job = snapshot.job
    stored = JobSamples.objects.filter(job=job, attempt=job.attempt).first()
    usual = usual_run(snapshot, stored)
    view = job_view(snapshot, now)
    add_timeline(view, snapshot, stored, usual, now)
    return {
        "view": view,
        "over_time": samples_view(snapshot, stored, now),
        "stage_rows": stage_rows(snapshot, view["stages"], usual, now),
    }
