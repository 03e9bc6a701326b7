"""Fixtures: a reader with a German browser, and jobs whose data are German."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from ingestion_progress.models import Batch, Job, JobAttempt, JobError, JobEvent, Stage
from ingestion_progress.models.statuses import AttemptStatus, JobStatus
from tests.support.page_jobs import job_with


@pytest.fixture
def german() -> Client:
    """A superuser's."""
    client = Client(headers={"Accept-Language": "de"})
    client.force_login(User.objects.create_superuser("anna"))
    return client


@pytest.fixture
def german_jobs() -> list[Job]:
    """`j0`, `j1` and so on: one per status, in a batch `b`."""
    Batch.objects.create(id="b", name="Mai", max_running=2)
    found = [
        job_with(status, job_id=f"j{number}", batch="b", failed_items=2, event_count=90, attempt=2)
        for number, status in enumerate(JobStatus)
    ]
    JobEvent.objects.update(message="Zeile")
    for stage in Stage.objects.all():
        Stage.objects.filter(pk=stage.pk).update(name=f"schritt_{stage.position}")
    now = timezone.now()
    for job in found:
        JobAttempt.objects.create(
            job=job,
            number=1,
            status=AttemptStatus.FAILED,
            started_at=now,
            finished_at=now,
            started_by="anna",
            cancelled_by="anna",
            failed_items=3,
        )
        for stage in ("", "parsing"):
            JobError.objects.create(
                job=job,
                attempt=job.attempt,
                stage=stage,
                digest=stage,
                message="Kaputt",
                count=7,
                first_at=now,
                last_at=now,
                examples=[{"item": "a", "message": "b"}],
            )
    return found
