"""No stream has a block that httpx-sse dispatches although it holds no event."""

from __future__ import annotations

import re

import pytest
from django.test import AsyncClient
from django.utils import timezone
from httpx_sse._decoders import SSEDecoder

from ingestion_progress.exceptions import DATABASE_UNAVAILABLE
from ingestion_progress.feed import Selection
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.frames import COMMENT, KEEPALIVE

pytestmark = [pytest.mark.django_db(transaction=True)]

ADDRESS = "/api/v1/admin/ingestion/jobs/job/progress"


async def make_job(status: JobStatus = JobStatus.RUNNING) -> Job:
    now = timezone.now()
    finished_at = now if status.is_final else None
    return await Job.objects.acreate(
        id="job", status=status, started_at=now, heartbeat_at=now, finished_at=finished_at
    )


@pytest.fixture
async def feed(feed):
    yield feed
    for subscriber in list(feed._subscriptions):
        feed.unsubscribe(subscriber)
    feed._shutdown._task = None


def subscribe(feed, kind: str, last_event_id: str = ""):
    if kind == "one":
        return feed.join(Selection.one("job", last_event_id=last_event_id))
    resume = {"is_until_idle": True, "last_event_id": last_event_id}
    if kind == "named":
        return feed.join(Selection.named(["job"], **resume))
    return feed.join(Selection.active(**resume))


def read_by_httpx_sse(body: bytes) -> list[tuple[str, int | None]]:
    """The name and the `retry` of each event, also of empty ones."""
    decoder = SSEDecoder()
    lines = body.decode().split("\n")[:-1]
    read = [event for line in lines if (event := decoder.decode(line)) is not None]
    return [(event.event, event.retry) for event in read]


@pytest.mark.parametrize("kind", ["one", "named", "all"])
async def test_retry_is_in_the_block_of_the_first_event(feed, kind):
    await make_job()
    subscriber = subscribe(feed, kind)
    await subscriber.ready
    events = read_by_httpx_sse(subscriber.open())

    assert [name for name, _ in events] == ["pipeline_progress", "forecast", "job_state"]
    assert 1000 <= events[0][1] <= 5000
    assert events[1][1] is None


async def test_retry_waits_behind_keepalives_for_the_first_state(feed):
    job = await make_job()
    subscriber = subscribe(feed, "one", last_event_id=job.version)
    await subscriber.ready
    body = subscriber.open()
    waiter = anext(subscriber)
    subscriber.send_keepalive()
    body += await waiter
    await Job.objects.aupdate(revision=job.revision + 1)
    body += await anext(subscriber)

    before = re.escape(COMMENT + KEEPALIVE)
    assert re.match(before + rb"retry: \d+\nevent: pipeline_progress\n", body)
    assert [name for name, _ in read_by_httpx_sse(body)] == [
        "keepalive",
        "pipeline_progress",
        "forecast",
        "job_state",
    ]


@pytest.mark.parametrize("kind", ["one", "named", "all"])
@pytest.mark.parametrize("end", ["drain", "age"])
async def test_stream_that_is_ended_early_dispatches_nothing_at_its_end(feed, kind, end):
    await make_job()
    subscriber = subscribe(feed, kind)
    await subscriber.ready
    body = subscriber.open()
    if end == "age":
        feed.rotate(subscriber.ends_at)
    else:
        feed.drain(lambda: None)
    body += b"".join([part async for part in subscriber])

    assert re.search(rb"\n\nretry: \d+\n\Z", body)
    assert [name for name, _ in read_by_httpx_sse(body)] == [
        "pipeline_progress",
        "forecast",
        "job_state",
    ]


async def test_idle_event_has_the_retry_of_a_stream_without_states(feed):
    subscriber = subscribe(feed, "all")
    body = subscriber.open() + b"".join([part async for part in subscriber])
    (event,) = read_by_httpx_sse(body)

    assert event[0] == "idle"
    assert 1000 <= event[1] <= 5000


async def test_final_state_of_one_job_needs_no_retry(feed):
    await make_job(JobStatus.SUCCEEDED)
    subscriber = subscribe(feed, "one")
    await subscriber.ready

    assert b"retry" not in subscriber.open()


async def test_stream_that_cannot_be_authorised_dispatches_nothing(feed, settings, monkeypatch):
    def away(*args):
        raise DATABASE_UNAVAILABLE[0]

    settings.INGESTION_PROGRESS_PUBLIC = False
    monkeypatch.setattr("ingestion_progress.auth.permissions.grant_view_of_each", away)
    response = await AsyncClient().get(ADDRESS)
    body = b"".join([part async for part in response])

    assert response.status_code == 200
    assert re.fullmatch(rb"retry: \d+\n", body)
    assert read_by_httpx_sse(body) == []
