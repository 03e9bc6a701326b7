"""Jobs with something in every field, for the pages to show."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ingestion_progress.models import Job, JobEvent, Stage, Worker
from ingestion_progress.models.statuses import EventLevel, JobStatus, StageStatus, WorkerStatus


def job_with(status: JobStatus = JobStatus.RUNNING, *, job_id: str = "job-1", **fields: Any) -> Job:
    """A job, its stages one per stage status, its workers one per worker status, a log."""
    now = timezone.now()
    times = {"created_at": now - timedelta(seconds=5), "updated_at": now}
    if status is not JobStatus.QUEUED:
        times |= {"created_at": now - timedelta(seconds=90)}
        times |= {"started_at": now - timedelta(seconds=75), "heartbeat_at": now}
    if status.is_final:
        times["finished_at"] = now
    defaults = {"document_id": "doc-1", "document_name": "report.pdf", "pool_size": 3}
    job = Job.objects.create(id=job_id, status=status, **(defaults | times | fields))
    for position, stage_status in enumerate(StageStatus):
        Stage.objects.create(
            job=job,
            name=f"{stage_status.value}_stage",
            position=position,
            weight=1,
            status=stage_status,
            processed=1200,
            total=4800,
            unit="pages",
        )
    for number, worker_status in enumerate(WorkerStatus, start=1):
        Worker.objects.create(
            job=job, number=number, status=worker_status, current_chunk=f"chunk-{number}"
        )
    for level in EventLevel:
        JobEvent.objects.create(
            job=job, attempt=job.attempt, level=level, stage="parsing", message=f"A {level} line"
        )
    return job


def page_of(job_id: str) -> str:
    return reverse("ingestion_progress:job_detail", args=[job_id])


def cancellation_of(job_id: str) -> str:
    return reverse("ingestion_progress:job_cancellation", args=[job_id])


def retry_of(job_id: str) -> str:
    return reverse("ingestion_progress:job_retry", args=[job_id])


def text_of(client: Client, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status
    return response.content.decode()


def visible_notice(html: str) -> str:
    """The name of the one notice that is not hidden."""
    (shown,) = re.findall(r'<p class="notice" data-notice="([\w-]+)"(?: data-\S+)?>', html)
    return shown
