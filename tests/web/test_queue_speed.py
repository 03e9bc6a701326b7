"""What the list says about all jobs: how fast they end, how long the queue takes, who works."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from ingestion_progress.models import Job
from ingestion_progress.models.pagination import RowCount
from ingestion_progress.web import queue_speed
from ingestion_progress.web.queue_speed import speed_note

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TWELVE = RowCount(12, is_exact=True)


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def run(now: datetime, *writers: str, **fields: object) -> None:
    for number, writer in enumerate(writers):
        values = {"heartbeat_at": now, "updated_at": now} | fields
        Job.objects.create(id=f"run-{number}", status="running", writer=writer, **values)


def end(now: datetime, *seconds: float, status: str = "succeeded") -> None:
    for ago in seconds:
        at = now - timedelta(seconds=ago)
        Job.objects.create(status=status, finished_at=at)


def test_rate_time_of_the_queue_and_processes(now):
    run(now, "host/1", "host/1", "host/2")
    end(now, 30, 60, 90)
    end(now, 120, status="failed")
    end(now, *[1] * 20, status="cancelled")  # nobody worked for these
    end(now, 3600)
    note = speed_note(TWELVE, now).replace("\xa0", " ")
    assert note == "Done: 1.5 per min · Queue: about 8 min left · 2 processes at work"


def test_what_is_not_known_is_left_out(now):
    assert speed_note(TWELVE, now) == ""
    run(now, "host/1")
    end(now, 30, 60)
    assert speed_note(TWELVE, now) == "1 process at work"
    end(now, 90)
    assert "Queue" not in speed_note(RowCount(0, is_exact=True), now)
    assert "Queue" not in speed_note(RowCount(10_000, is_exact=False), now)
    assert "Done: 1.3 per" in speed_note(RowCount(0, is_exact=True), now)


def test_a_process_without_a_recent_heartbeat_is_not_at_work(now):
    run(now, "host/1", heartbeat_at=now - timedelta(minutes=1))
    assert speed_note(TWELVE, now) == ""


def test_only_the_newest_ends_count(now, monkeypatch):
    monkeypatch.setattr(queue_speed, "MAX_ENDS", 4)
    run(now, "host/1")
    end(now, 10, 20, 30, 40, *range(600, 640))
    assert "Done: 4.5 per" in speed_note(TWELVE, now)


def test_only_the_list_of_all_jobs_says_it(client: Client, now, settings):
    run(now, "host/1")
    text = "1 process at work"
    assert text in client.get("/").content.decode()
    part = client.get("/", headers={"X-Requested-With": "fetch"}).content.decode()
    assert part.count(text) == 1
    for query in ("batch=a", "group=running", "q=a", "owner=me", "sort=oldest"):
        assert text not in client.get(f"/?{query}").content.decode()
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = "ingestion_progress.auth.visibility.own_jobs"
    assert text not in client.get("/").content.decode()
