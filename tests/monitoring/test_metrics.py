"""`/metrics`: the counts of the feed and the tracker, and who may scrape them."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission
from django.test import AsyncClient
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from ingestion_progress import track
from ingestion_progress.checks import check_metrics
from ingestion_progress.concurrency.worker_thread import SharedCall
from ingestion_progress.feed import Feed, Selection, Subscription, get_feed
from ingestion_progress.feed.counts import FeedCounts
from ingestion_progress.models.pagination import RowCount
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.monitoring import prometheus
from ingestion_progress.monitoring.metrics import get_job_counts
from ingestion_progress.monitoring.prometheus import (
    WAKEUP_TRANSPORTS,
    ProcessMetrics,
    WriterCounts,
    exposition,
)
from ingestion_progress.tracker import request_cancellation
from ingestion_progress.tracker.writer import background_writer
from ingestion_progress.wakeups.transports import TRANSPORTS
from tests.feed.test_feed import following, make_job, opened, write
from tests.feed.test_subscriber import frame
from tests.support.tracking import eventually

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "ingestion_progress"


@pytest.fixture(autouse=True)
def _new_process():
    get_feed.cache_clear()
    get_job_counts.cache_clear()
    yield
    get_feed.cache_clear()
    get_job_counts.cache_clear()


async def scrape(**headers: str) -> dict[str, float]:
    response = await AsyncClient().get("/metrics", headers=headers)
    assert response.status_code == 200, response.content
    assert response["Content-Type"].startswith("text/plain; version=")
    return samples(response.content)


def samples(body: bytes) -> dict[str, float]:
    families = text_string_to_metric_families(body.decode())
    return {
        "".join([sample.name.removeprefix(f"{NAME}_"), *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }


async def test_scrape_has_the_counts_of_the_feed(settings):
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 0.01
    await make_job()
    ended = timezone.now()
    await make_job("other", status=JobStatus.FAILED, started_at=ended, finished_at=ended)
    first, second = get_feed().join(Selection.one("job")), get_feed().join(Selection.one("job"))
    frames = [await opened(first), await opened(second)]
    await write(neo4j_writes=3)
    frames.append(await following(first))
    found = await scrape()
    get_feed().unsubscribe(first)
    get_feed().unsubscribe(second)

    assert (found["streams_open"], found["subscribers"], found["watched_jobs"]) == (2, 2, 1)
    assert found["frames_total"] == 3
    assert found["frame_bytes_total"] == sum(
        len(re.sub(rb"^retry: .*\n", b"", each)) for each in frames
    )
    assert found["poll_seconds_count"] >= 2
    assert 0 < found["poll_seconds_sum"] < 30
    assert 0 <= found["poll_lag_seconds"] < 10
    assert found["database_answered"] == 1
    after = await scrape()
    assert (after["streams_open"], after["subscribers"], after["poll_lag_seconds"]) == (0, 0, 0)


async def test_scrape_counts_active_jobs_and_those_that_ended_lately(monkeypatch):
    monkeypatch.setattr(RowCount, "limit", 3)
    now = timezone.now()
    ends = {"new": now, "recent": now - timedelta(minutes=50), "old": now - timedelta(minutes=70)}
    for job_id, at in ends.items():
        await make_job(job_id, status=JobStatus.FAILED, started_at=at, finished_at=at)
    for number in range(5):
        await make_job(f"queued-{number}", status=JobStatus.QUEUED)
    found = await scrape()
    assert {name: value for name, value in found.items() if name.startswith("jobs")} == {
        "jobsqueued": 3,  # at most
        "jobsrunning": 0,
        "jobs_ended_last_hourfailed": 2,
        "jobs_ended_last_hoursucceeded": 0,
        "jobs_ended_last_hourcancelled": 0,
        "jobs_ended_last_hourlost": 0,
    }


async def test_wakeups_are_counted_by_transport():
    assert set(WAKEUP_TRANSPORTS) == {"local", *TRANSPORTS}
    await make_job()
    subscriber = get_feed().join(Selection.one("job"))
    await opened(subscriber)
    before = await scrape()
    await sync_to_async(request_cancellation)("job")
    await following(subscriber)
    after = await scrape()
    get_feed().unsubscribe(subscriber)

    assert (before["wakeups_totallocal"], after["wakeups_totallocal"]) == (0, 1)
    assert after["wakeups_totalnotify"] == after["wakeups_totalchannels"] == 0


async def test_replaced_frames_are_counted():
    counts = FeedCounts()
    subscriber = Subscription(Selection.one("job"), asyncio.get_running_loop(), counts=counts)
    for number in range(5):
        subscriber.put("job", frame(number))
    await anext(subscriber)

    assert (counts.conflated, counts.frames) == (4, 1)


def test_flushes_of_the_tracker_are_counted():
    before = background_writer.counts.flushes
    with track("report.pdf", stages=["parsing"]) as job, job.stage("parsing") as stage:
        stage.advance()
        eventually(lambda: background_writer.counts.flushes > before)


async def test_scrape_without_the_database_lacks_only_the_jobs(monkeypatch):
    release = threading.Event()
    counts = SharedCall("shared-call", lambda: release.wait(20) and {}, timeout_seconds=0.05)
    monkeypatch.setattr("ingestion_progress.monitoring.metrics.get_job_counts", lambda: counts)
    found = await scrape()
    release.set()

    assert found["database_answered"] == 0
    assert found["streams_open"] == 0
    assert not [name for name in found if name.startswith("jobs")]


async def test_site_that_is_not_public_needs_the_token_or_a_login(settings, django_user_model):
    settings.INGESTION_PROGRESS_PUBLIC = False
    stranger = await AsyncClient().get("/metrics")
    assert (stranger.status_code, stranger["WWW-Authenticate"]) == (401, "Bearer")
    nothing = await AsyncClient().get("/metrics", headers={"Authorization": "Bearer "})
    assert nothing.status_code == 401

    settings.INGESTION_PROGRESS_METRICS_TOKEN = "s3cret"
    for wrong in ("Bearer wrong", "Bearer", "Basic s3cret", "s3cret", "Bearer s3cret\u00e9"):
        refused = await AsyncClient().get("/metrics", headers={"Authorization": wrong})
        assert refused.status_code == 401, wrong
    assert "streams_open" in await scrape(Authorization="Bearer s3cret")


def test_user_needs_the_permission_to_view_jobs(client, settings, django_user_model):
    settings.INGESTION_PROGRESS_PUBLIC = False
    user = django_user_model.objects.create_user("ada")
    client.force_login(user)
    assert client.get("/metrics").status_code == 403

    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    assert client.get("/metrics").status_code == 200


def test_without_prometheus_client_it_is_a_404_and_a_system_check(client, settings, monkeypatch):
    settings.INGESTION_PROGRESS_METRICS_TOKEN = "s3cret"
    assert not list(check_metrics())
    monkeypatch.setattr(prometheus, "find_spec", lambda name: None)
    response = client.get("/metrics")
    (message,) = check_metrics()

    assert response.status_code == 404
    assert "[metrics]" in response.json()["message"]
    assert message.id == "ingestion_progress.W010"
    assert "[metrics]" in message.hint


def test_every_scrape_has_a_new_registry():
    from prometheus_client import REGISTRY

    feed = Feed()
    feed.counts.frames = 7
    readings = ProcessMetrics(feed, WriterCounts(flushes=2), jobs=None)
    body, _ = exposition(readings)
    again, _ = exposition(readings)

    assert body == again
    assert samples(body)["frames_total"] == 7
    assert samples(body)["tracker_flushes_total"] == 2
    assert not [family for family in REGISTRY.collect() if family.name.startswith(NAME)]
    assert "prometheus_client" in sys.modules
