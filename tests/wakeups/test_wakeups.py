"""Notifications within one process: which reads they cause, and which they do not."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.utils import timezone

from ingestion_progress import track, wakeups
from ingestion_progress.checks import check_wakeups
from ingestion_progress.feed import Feed, Selection, poller, read_schedule
from ingestion_progress.models import Job
from ingestion_progress.tracker import (
    delete_job,
    fail_job,
    queue_job,
    request_cancellation,
)
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan
from ingestion_progress.wakeups import transports
from ingestion_progress.wakeups.transports import Notification, own_origin
from tests.support.rescuing import rescue_now

pytestmark = pytest.mark.django_db(transaction=True)

LONG_SECONDS = 60.0
SOON_SECONDS = 5.0


@pytest.fixture(autouse=True)
def rare_polls(settings):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = LONG_SECONDS
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 0.02


@pytest.fixture
def job_id() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def feed():
    feed = Feed()
    yield feed
    for subscriber in list(feed._subscriptions):
        feed.unsubscribe(subscriber)


@pytest.fixture
def reads(monkeypatch):
    """The jobs that each query of the feed asked for."""
    calls: list[set[str]] = []
    original = poller.read_changes

    def read(known, now, scope):
        calls.append(set(known))
        return original(known, now, scope)

    monkeypatch.setattr(poller, "read_changes", read)
    return calls


async def watch(feed, job_id):
    subscriber = await ready(feed.join(Selection.one(job_id)))
    subscriber.open()
    return subscriber


async def ready(subscriber):
    async with asyncio.timeout(SOON_SECONDS):
        await subscriber.ready
    return subscriber


async def following(subscriber) -> bytes:
    async with asyncio.timeout(SOON_SECONDS):
        return await anext(subscriber)


async def test_change_is_delivered_long_before_the_next_poll(feed, job_id):
    await sync_to_async(queue_job)("report.pdf", job_id=job_id)
    subscriber = await watch(feed, job_id)
    await sync_to_async(request_cancellation)(job_id)
    assert b'"code":"cancelled"' in await following(subscriber)


async def test_deletion_wakes_up_too(feed, job_id):
    await sync_to_async(queue_job)("report.pdf", job_id=job_id)
    subscriber = await watch(feed, job_id)
    await sync_to_async(delete_job)(job_id)
    assert b'"code":"not_found"' in await following(subscriber)


async def test_start_of_a_queued_job_wakes_up_too(feed, job_id):
    await sync_to_async(queue_job)("report.pdf", job_id=job_id)
    subscriber = await watch(feed, job_id)
    await sync_to_async(start_attempt)(JobPlan("report.pdf", job_id=job_id))
    assert b'"status":"running"' in await following(subscriber)


@pytest.mark.parametrize("is_ended", [True, False])
async def test_another_attempt_wakes_up_too(feed, job_id, is_ended):
    first = JobPlan("report.pdf", job_id=job_id)
    await sync_to_async(start_attempt)(first)
    if is_ended:
        await sync_to_async(fail_job)(job_id, "unreadable")
    subscriber = await ready(feed.join(Selection.named([job_id])))
    assert b'"attempt":1' in await following(subscriber)
    await sync_to_async(start_attempt)(first, restart=True)
    assert b'"attempt":2' in await following(subscriber)


async def test_request_to_stop_a_running_job_wakes_up_too(feed, job_id):
    await sync_to_async(start_attempt)(JobPlan("report.pdf", job_id=job_id))
    subscriber = await watch(feed, job_id)
    await sync_to_async(request_cancellation)(job_id)
    assert b'"cancel_requested":true' in await following(subscriber)


async def test_recording_a_lost_job_wakes_up_too(feed, job_id):
    await sync_to_async(start_attempt)(JobPlan("report.pdf", job_id=job_id))
    long_ago = timezone.now() - timedelta(hours=1)
    await Job.objects.filter(pk=job_id).aupdate(heartbeat_at=long_ago)
    subscriber = await watch(feed, job_id)
    await sync_to_async(rescue_now)()
    assert b'"code":"lost"' in await following(subscriber)


async def test_queued_job_wakes_up_the_streams_of_all(feed, job_id):
    subscriber = await ready(feed.join(Selection.active()))
    await sync_to_async(queue_job)("report.pdf", job_id=job_id)
    assert job_id.encode() in await following(subscriber)


async def test_the_writer_thread_wakes_the_loop_after_each_flush(feed, job_id, settings):
    settings.INGESTION_PROGRESS_FLUSH_INTERVAL_SECONDS = 0.02

    async with track("report.pdf", job_id=job_id, stages=["parsing"]) as job:
        subscriber = await watch(feed, job_id)
        stage = job.stage("parsing", total=10)
        for processed in (1, 2):
            stage.advance()
            while f'"processed":{processed}'.encode() not in await following(subscriber):
                pass
    while not subscriber.has_ended:
        last = await following(subscriber)
    assert last.endswith(b"event: complete\ndata: {}\n\n")


async def test_notification_follows_the_commit(feed, job_id, reads):
    await sync_to_async(queue_job)("report.pdf", job_id=job_id)
    subscriber = await watch(feed, job_id)
    reads.clear()

    @sync_to_async
    def cancel_within_a_transaction(*, is_kept: bool) -> None:
        with transaction.atomic():
            request_cancellation(job_id)
            time.sleep(0.05)
            assert not reads
            transaction.set_rollback(not is_kept)

    await cancel_within_a_transaction(is_kept=False)
    await asyncio.sleep(0.05)
    assert not reads
    await cancel_within_a_transaction(is_kept=True)
    assert b'"code":"cancelled"' in await following(subscriber)


async def test_notification_about_unwatched_jobs_costs_no_query(feed, job_id, reads):
    await sync_to_async(queue_job)("report.pdf", job_id=job_id)
    await watch(feed, job_id)
    reads.clear()
    for _ in range(20):
        await sync_to_async(queue_job)("other.pdf")
    await asyncio.sleep(0.05)
    assert not reads


async def test_many_notifications_are_read_together(feed, reads):
    job_ids = {uuid.uuid4().hex for _ in range(50)}
    for job_id in job_ids:
        await sync_to_async(queue_job)("report.pdf", job_id=job_id)
    await asyncio.gather(*(watch(feed, job_id) for job_id in job_ids))
    reads.clear()
    for job_id in job_ids:
        wakeups.publish(job_id, is_end=True)  # for which the throttle does not wait
    await asyncio.sleep(0.05)
    assert set().union(*reads) == job_ids
    assert len(reads) <= 2


async def test_jobs_that_change_at_different_times_are_read_little_more_often_than_at_ticks(
    feed, reads, settings
):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 0.25
    jobs = [await sync_to_async(queue_job)("report.pdf") for _ in range(40)]
    for job in jobs:
        feed.join(Selection.one(job.pk))
    await asyncio.sleep(0.1)
    reads.clear()
    began = time.monotonic()
    for job in 5 * jobs:
        wakeups.publish(job.pk, is_end=True)  # for which the throttle does not wait
        await asyncio.sleep(0.02)
    seconds = time.monotonic() - began

    often = read_schedule.BURST_SIZE + seconds / read_schedule.SUSTAINED_INTERVAL_SECONDS
    assert len(reads) <= often + seconds / 0.25 + 2
    assert set().union(*reads) == {job.pk for job in jobs}


async def test_what_is_written_stays_written_if_its_notification_fails(job_id, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("no wake-up today")

    monkeypatch.setattr(wakeups, "publish", fail)
    await sync_to_async(queue_job)("report.pdf", job_id=job_id)
    assert await Job.objects.filter(pk=job_id).aexists()
    assert "no wake-up today" in caplog.text


async def test_notification_of_an_end_names_the_ended_job(job_id):
    notifications: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    def collect(job_ids, ended):
        notifications.append((tuple(job_ids), tuple(ended)))

    listening = asyncio.create_task(wakeups.listen(collect, Counter()))
    async with track("report.pdf", job_id=job_id, stages=["parsing"]) as job:
        job.stage("parsing").advance()
        await job.aflush()
        await asyncio.sleep(0.01)
        assert set(notifications) == {((job_id,), ())}
    await asyncio.sleep(0.01)
    listening.cancel()
    await asyncio.wait({listening})
    assert ((job_id,), (job_id,)) in notifications


async def test_notification_without_a_job_is_about_all(feed, job_id, reads):
    await watch(feed, job_id := (await sync_to_async(queue_job)("a.pdf")).pk)
    reads.clear()
    feed._poller.on_notification()
    await asyncio.sleep(0.05)
    assert reads == [{job_id}]


async def test_notification_during_a_read_leads_to_another_read(feed, job_id, monkeypatch):
    await sync_to_async(queue_job)("report.pdf", job_id=job_id)
    subscriber = await watch(feed, job_id)
    original = poller.read_changes
    has_read, may_return = threading.Event(), threading.Event()

    def read(known, now, scope):
        changes = original(known, now, scope)
        has_read.set()
        may_return.wait(SOON_SECONDS)
        return changes

    monkeypatch.setattr(poller, "read_changes", read)
    wakeups.publish(job_id)
    await asyncio.to_thread(has_read.wait, SOON_SECONDS)
    await sync_to_async(request_cancellation)(job_id)
    await asyncio.sleep(0)
    may_return.set()
    assert b'"code":"cancelled"' in await following(subscriber)


async def test_without_wakeups_changes_wait_for_the_poll(feed, job_id, reads, settings):
    settings.INGESTION_PROGRESS_WAKEUPS = "off"
    await sync_to_async(queue_job)("report.pdf", job_id=job_id)
    await watch(feed, job_id)
    reads.clear()
    await sync_to_async(request_cancellation)(job_id)
    await asyncio.sleep(0.05)
    assert not reads


async def test_listener_ends_with_the_last_subscriber(feed, job_id):
    subscriber = await watch(feed, job_id)
    feed.unsubscribe(subscriber)
    feed.unsubscribe(await watch(feed, (await sync_to_async(queue_job)("a.pdf")).pk))
    await asyncio.sleep(0.01)
    assert not wakeups._listeners


def test_closed_event_loop_is_removed():
    async def leave_behind():
        wakeups._listeners[print] = asyncio.get_running_loop()

    asyncio.run(leave_behind())
    wakeups.publish("job")
    assert print not in wakeups._listeners


def test_unknown_value_of_the_setting_is_an_error_that_lists_the_known(settings):
    settings.INGESTION_PROGRESS_WAKEUPS = "pigeons"
    (message,) = check_wakeups()
    assert message.id == "ingestion_progress.E005"
    assert "auto" in message.hint


class FakeTransport:
    """Delivers two notifications of another process and one of this, and fails."""

    opened = 0

    def __init__(self, name: str) -> None:
        assert name == "redis"
        type(self).opened += 1
        self.is_first = self.opened == 1

    async def receive(self, deliver, ready) -> None:
        if not self.is_first:
            ready()
            await asyncio.get_running_loop().create_future()
        deliver(Notification(origin="other", job_ids=("a", "b"), ended=("b",)))
        deliver(Notification(origin=own_origin(), job_ids=("own",)))
        deliver(Notification(origin="other"))
        raise ConnectionError("reset by peer")

    async def close(self) -> None:
        if self.is_first:
            await asyncio.get_running_loop().create_future()  # as with a peer that is away


@pytest.fixture
async def heard(monkeypatch, settings):
    """What `listen` delivers, and how it counts."""
    settings.INGESTION_PROGRESS_WAKEUPS = "auto"
    monkeypatch.setattr(FakeTransport, "opened", 0)
    monkeypatch.setattr(wakeups, "CLOSE_SECONDS", 0.01)
    monkeypatch.setattr(wakeups, "transport_name", lambda: "redis")
    monkeypatch.setattr(wakeups, "new_transport", FakeTransport)
    monkeypatch.setattr(wakeups.background_sender, "publish", lambda *_, **__: None)
    monkeypatch.setattr(transports, "FIRST_PAUSE_SECONDS", 0.001)
    delivered: list[tuple] = []
    received: Counter[str] = Counter()
    task = asyncio.create_task(
        wakeups.listen(lambda *about: delivered.append(tuple(map(tuple, about))), received)
    )
    async with asyncio.timeout(60):
        while FakeTransport.opened < 2:  # noqa: ASYNC110  (nothing says so)
            await asyncio.sleep(0.005)
    yield delivered, received
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    wakeups.publish("unheard")
    await asyncio.sleep(0)
    assert (("unheard",), ()) not in delivered


async def test_listener_delivers_what_others_and_its_own_process_publish(heard, caplog):
    delivered, received = heard
    assert delivered == [(("a", "b"), ("b",)), ((), ())]
    wakeups.publish("job")
    wakeups.publish("ended", is_end=True)
    await asyncio.sleep(0)

    assert delivered[2:] == [(("job",), ()), (("ended",), ("ended",))]
    assert received == {"redis": 2, "local": 2}
    assert [
        (record.message, record.transport, record.direction)
        for record in caplog.get_records("setup")
    ] == [("wakeups_down", "redis", "receive"), ("wakeups_back", "redis", "receive")]


async def test_listener_ends_at_once_if_wakeups_are_off(settings):
    settings.INGESTION_PROGRESS_WAKEUPS = "off"
    async with asyncio.timeout(1):
        await wakeups.listen(lambda *_: None, Counter())
