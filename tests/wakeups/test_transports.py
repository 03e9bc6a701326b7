"""What a notification says, and how the sender's thread merges and sends several."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from channels.layers import InMemoryChannelLayer

from ingestion_progress import wakeups
from ingestion_progress.checks import check_wakeups
from ingestion_progress.wakeups import sender as sender_module
from ingestion_progress.wakeups import transports
from ingestion_progress.wakeups.sender import MAX_JOBS, Sender
from ingestion_progress.wakeups.transports import (
    LAST_PAUSE_SECONDS,
    MAX_BYTES,
    Notification,
    channels,
    new_backoff,
    own_origin,
    transport_name,
)
from tests.support.tracking import eventually

POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "NAME": "progress"}
# Parent and child, in a process without threads.
FORK = """
import os
import django
django.setup()
from ingestion_progress.wakeups.transports import own_origin
print(own_origin(), flush=True)
if child := os.fork():
    os.waitpid(child, 0)
print(own_origin(), flush=True)
"""


class FakeTransport:
    """Keeps what is sent."""

    def __init__(
        self,
        *,
        before_each: Callable[[], object] = bool,
        before_close: Callable[[], object] = bool,
    ) -> None:
        self.sent: list[Notification] = []
        self.is_closed = False
        self._before_each = before_each
        self._before_close = before_close

    async def send(self, notification: Notification) -> None:
        self._before_each()
        self.sent.append(notification)

    async def close(self) -> None:
        self._before_close()
        self.is_closed = True


@contextmanager
def sending_by(monkeypatch: pytest.MonkeyPatch, *fakes: FakeTransport) -> Iterator[Sender]:
    """A sender that gets these, one after the other; all is sent when the block is left."""
    given = iter(fakes)
    monkeypatch.setattr(sender_module, "transport_name", lambda: "fake")
    monkeypatch.setattr(sender_module, "new_transport", lambda name: next(given))
    sender = Sender()
    try:
        yield sender
    finally:
        sender.stop()


def test_notification_arrives_as_it_was_sent():
    notification = Notification.about(["job-1", "Größe 2"], ["Größe 2"])
    assert Notification.decoded(notification.encoded()) == notification
    assert notification.origin == own_origin()


def test_notification_that_is_too_long_names_no_job():
    notification = Notification.about(["ü" * 255] * 20)
    assert notification.job_ids == ()
    assert len(Notification.about([f"{n:032}" for n in range(150)]).encoded()) <= MAX_BYTES


def test_forked_child_and_its_parent_have_different_names():
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=30, check=True
    )
    before, *after = done.stdout.split()
    assert len(after) == len(set(after)) == 2
    assert before in after


@pytest.mark.parametrize(("count", "is_named"), [(MAX_JOBS, True), (MAX_JOBS + 100, False)])
def test_jobs_beyond_the_limit_make_a_notification_about_all(monkeypatch, count, is_named):
    is_sending, are_published = threading.Event(), threading.Event()

    def wait() -> None:
        is_sending.set()
        assert are_published.wait(60)

    transport = FakeTransport(before_each=wait)
    job_ids = {str(number) for number in range(count)}
    with sending_by(monkeypatch, transport) as sender:
        sender.publish("first", is_end=False)
        assert is_sending.wait(60)
        for job_id in job_ids:
            sender.publish(job_id, is_end=True)
        assert len(sender._job_ids) <= MAX_JOBS + 1
        are_published.set()
    first, second = transport.sent
    assert first.job_ids == ("first",)
    assert set(second.job_ids) == set(second.ended) == (job_ids if is_named else set())


def test_a_single_notification_does_not_wait_for_another(monkeypatch):
    monkeypatch.setattr(sender_module, "IDLE_SECONDS", 600)
    transport = FakeTransport()
    with sending_by(monkeypatch, transport) as sender:
        for number in range(1, 3):
            sender.publish("job", is_end=False)
            eventually(lambda: len(transport.sent) == number)  # noqa: B023


def test_end_of_a_job_is_in_one_notification(monkeypatch):
    transport = FakeTransport()
    with sending_by(monkeypatch, transport) as sender:
        sender.publish("job", is_end=True)
        eventually(lambda: transport.sent)
        sender.publish("job", is_end=False)  # of the next attempt
    assert [(each.job_ids, each.ended) for each in transport.sent] == [
        (("job",), ("job",)),
        (("job",), ()),
    ]


def test_notification_that_comes_while_an_idle_thread_ends_is_sent_by_another(monkeypatch):
    is_closing, may_close = threading.Event(), threading.Event()

    def wait() -> None:
        is_closing.set()
        assert may_close.wait(60)

    idle, fresh = FakeTransport(before_close=wait), FakeTransport()
    monkeypatch.setattr(sender_module, "IDLE_SECONDS", 0.01)
    with sending_by(monkeypatch, idle, fresh) as sender:
        sender.publish("first", is_end=False)
        assert is_closing.wait(60)
        monkeypatch.setattr(sender_module, "IDLE_SECONDS", 10)
        sender.publish("second", is_end=False)
        may_close.set()
    assert [each.job_ids for each in idle.sent] == [("first",)]
    assert [each.job_ids for each in fresh.sent] == [("second",)]


def test_transport_that_failed_is_closed_and_replaced(monkeypatch, caplog):
    has_failed = threading.Event()

    def fail() -> None:
        has_failed.set()
        raise ConnectionError("reset by peer")

    broken, fresh = FakeTransport(before_each=fail), FakeTransport()
    monkeypatch.setattr(transports, "FIRST_PAUSE_SECONDS", 0.01)
    with sending_by(monkeypatch, broken, fresh) as sender:
        sender.publish("lost", is_end=False)
        assert has_failed.wait(60)
        sender.publish("sent", is_end=True)
    assert broken.is_closed
    assert [(each.job_ids, each.ended) for each in fresh.sent] == [(("sent",), ("sent",))]
    assert fresh.is_closed
    labels = [(each.message, each.transport, each.direction) for each in caplog.records]
    assert labels == [("wakeups_down", "fake", "send"), ("wakeups_back", "fake", "send")]


def test_notifications_after_a_failure_wait_for_the_end_of_the_pause(monkeypatch):
    has_failed, attempts = threading.Event(), []

    def fail() -> None:
        attempts.append(None)
        has_failed.set()
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(transports, "FIRST_PAUSE_SECONDS", 600)
    monkeypatch.setattr(sender_module, "INTERVAL_SECONDS", 0.0)
    with sending_by(monkeypatch, *(FakeTransport(before_each=fail) for _ in range(9))) as sender:
        sender.publish("lost", is_end=False)
        assert has_failed.wait(60)
        for _ in range(3):
            sender.publish("waits", is_end=False)
            time.sleep(0.03)
        assert len(attempts) == 1
        assert sender._job_ids == {"waits"}


def test_a_process_sends_at_most_twenty_notifications_a_second_and_waits_for_none_long():
    assert 1 / sender_module.INTERVAL_SECONDS == 20
    # The jobs of one flush are gathered at a small part of that.
    assert sender_module.GATHER_SECONDS == 0.002
    assert (sender_module.SEND_SECONDS, sender_module.IDLE_SECONDS) == (5, 3)
    assert sender_module.EXIT_SECONDS == 1


def test_notifications_of_one_moment_are_sent_together(monkeypatch):
    monkeypatch.setattr(sender_module, "GATHER_SECONDS", 600)
    transport = FakeTransport()
    with sending_by(monkeypatch, transport) as sender:
        for name in "ab":
            sender.publish(name, is_end=name == "b")
            time.sleep(0.03)
        assert transport.sent == []
    (notification,) = transport.sent
    assert (set(notification.job_ids), notification.ended) == ({"a", "b"}, ("b",))


class HangingTransport(FakeTransport):
    """Has a peer that accepts a connection and never answers."""

    async def send(self, notification: Notification) -> None:
        await asyncio.Event().wait()


def test_transport_that_hangs_is_given_up_and_replaced(monkeypatch):
    hanging, fresh = HangingTransport(), FakeTransport()
    monkeypatch.setattr(sender_module, "SEND_SECONDS", 0.02)
    monkeypatch.setattr(transports, "FIRST_PAUSE_SECONDS", 0.01)
    with sending_by(monkeypatch, hanging, fresh) as sender:
        sender.publish("lost", is_end=False)
        eventually(lambda: hanging.is_closed)
        sender.publish("sent", is_end=False)
    assert [each.job_ids for each in fresh.sent] == [("sent",)]


def test_transport_that_hangs_while_it_is_closed_is_replaced(monkeypatch):
    class Hanging(HangingTransport):
        async def close(self) -> None:
            await asyncio.Event().wait()

    fresh = FakeTransport()
    monkeypatch.setattr(sender_module, "SEND_SECONDS", 0.02)
    monkeypatch.setattr(transports, "FIRST_PAUSE_SECONDS", 0.01)
    with sending_by(monkeypatch, Hanging(), fresh) as sender:
        sender.publish("lost", is_end=False)
        eventually(lambda: not sender._job_ids)
        sender.publish("sent", is_end=False)
        eventually(lambda: fresh.sent)
    assert [each.job_ids for each in fresh.sent] == [("sent",)]


def test_transport_that_cannot_be_closed_ends_nothing(monkeypatch):
    def fail() -> None:
        raise ConnectionError("reset by peer")

    transport = FakeTransport(before_close=fail)
    with sending_by(monkeypatch, transport) as sender:
        sender.publish("sent", is_end=False)
        eventually(lambda: transport.sent)
        thread = sender._thread
    assert not thread.is_alive()
    assert [each.job_ids for each in transport.sent] == [("sent",)]


def test_transport_is_closed_when_the_setting_leaves_none(monkeypatch):
    monkeypatch.setattr(sender_module, "IDLE_SECONDS", 600)
    transport = FakeTransport()
    with sending_by(monkeypatch, transport) as sender:
        sender.publish("sent", is_end=False)
        eventually(lambda: transport.sent)
        monkeypatch.setattr(sender_module, "transport_name", str)
        sender.publish("not sent", is_end=False)
        eventually(lambda: transport.is_closed)
        thread = sender._thread
    assert not thread.is_alive()  # it does not wait for the end of IDLE_SECONDS
    assert [each.job_ids for each in transport.sent] == [("sent",)]


class FakeReceiver:
    """Delivers these, and fails."""

    def __init__(self, *notifications: Notification) -> None:
        self.is_closed = False
        self._notifications = notifications

    async def receive(
        self, deliver: Callable[[Notification], None], ready: Callable[[], None]
    ) -> None:
        ready()
        for notification in self._notifications:
            deliver(notification)
        raise ConnectionError("reset by peer")

    async def close(self) -> None:
        self.is_closed = True
        raise ConnectionError("closed already")


async def test_listener_delivers_what_others_send_and_replaces_what_failed(monkeypatch, caplog):
    own = Notification.about(["own"])
    first = FakeReceiver(own, Notification(origin="other", job_ids=("a", "b"), ended=("b",)))
    second = FakeReceiver(Notification(origin="other"), own)
    given = iter([first, second])
    delivered, received = [], Counter()

    def deliver(job_ids: tuple[str, ...], ended: tuple[str, ...]) -> None:
        delivered.append((job_ids, ended))
        if not job_ids:
            listening.cancel()

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(transports, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(wakeups, "transport_name", lambda: "fake")
    monkeypatch.setattr(wakeups, "new_transport", lambda name: next(given))
    listening = asyncio.create_task(wakeups.listen(deliver, received))
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(60):
            await listening
    assert delivered == [(("a", "b"), ("b",)), ((), ())]
    assert received == {"fake": 2}
    assert first.is_closed
    assert not wakeups._listeners
    labels = [(each.message, each.transport, each.direction) for each in caplog.records]
    assert labels[:2] == [("wakeups_down", "fake", "receive"), ("wakeups_back", "fake", "receive")]


async def test_listener_pauses_before_it_replaces_what_failed(monkeypatch):
    created = []

    def new_receiver(name: str) -> FakeReceiver:
        created.append(name)
        return FakeReceiver()

    monkeypatch.setattr(transports, "FIRST_PAUSE_SECONDS", 600)
    monkeypatch.setattr(wakeups, "transport_name", lambda: "fake")
    monkeypatch.setattr(wakeups, "new_transport", new_receiver)
    listening = asyncio.create_task(wakeups.listen(print, Counter()))
    for _ in range(50):
        await asyncio.sleep(0)
    listening.cancel()
    assert created == ["fake"]


class DeafLayer(InMemoryChannelLayer):
    """Delivers one message and no later ones, as after a lost subscription."""

    has_delivered = False

    async def send(self, channel: str, message: dict[str, object]) -> None:
        if not self.has_delivered:
            self.has_delivered = True
            await super().send(channel, message)


async def test_channel_layer_that_delivers_no_longer_is_noticed(monkeypatch):
    monkeypatch.setattr(channels, "PROBE_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(channels, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr("channels.layers.get_channel_layer", DeafLayer)
    ready = []
    async with asyncio.timeout(60):
        with pytest.raises(ExceptionGroup) as failure:
            await channels.ChannelsTransport().receive(print, lambda: ready.append("ready"))
    assert failure.value.subgroup(TimeoutError)
    assert ready == ["ready"]


@pytest.mark.parametrize(
    ("setting", "transport", "sent"),
    [("auto", "fake", [("job", True), ("job", False)]), ("auto", "", []), ("off", "fake", [])],
)
def test_writes_are_published_to_other_processes_if_the_setting_allows_it(
    settings, monkeypatch, setting, transport, sent
):
    class Recorder:
        def publish(self, job_id: str, *, is_end: bool) -> None:
            published.append((job_id, is_end))

    published: list[tuple[str, bool]] = []
    settings.INGESTION_PROGRESS_WAKEUPS = setting
    monkeypatch.setattr(wakeups, "transport_name", lambda: transport)
    monkeypatch.setattr(wakeups, "background_sender", Recorder())
    wakeups.publish("job", is_end=True)
    wakeups.publish("job")
    assert published == sent


@pytest.mark.parametrize(
    "text",
    ["", "look!", "{}", "[]", "[1]", '["me", 2]', "null", "[[]]", '["me", "job"]', '["me", [2]]'],
)
def test_other_text_in_the_channel_is_ignored(text):
    assert Notification.decoded(text) is None


@pytest.mark.parametrize(
    ("choice", "database", "expected"),
    [
        ("auto", POSTGRESQL, "notify"),
        ("notify", POSTGRESQL, "notify"),
        ("off", POSTGRESQL, ""),
        ("auto", {"ENGINE": "django.db.backends.sqlite3"}, ""),
        ("notify", {"ENGINE": "django.db.backends.sqlite3"}, ""),
        ("channels", POSTGRESQL, ""),
        ("pigeons", POSTGRESQL, ""),
    ],
)
def test_transport_follows_from_the_setting_and_the_database(
    settings, monkeypatch, choice, database, expected
):
    settings.INGESTION_PROGRESS_WAKEUPS = choice
    monkeypatch.setitem(settings.DATABASES, "default", database)
    assert transport_name() == expected


@pytest.mark.parametrize(
    ("choice", "backend", "expected"),
    [
        ("auto", "channels_redis.pubsub.RedisPubSubChannelLayer", "channels"),
        ("channels", "channels_redis.pubsub.RedisPubSubChannelLayer", "channels"),
        ("notify", "channels_redis.pubsub.RedisPubSubChannelLayer", "notify"),
        ("off", "channels_redis.pubsub.RedisPubSubChannelLayer", ""),
        # It never crosses processes.
        ("auto", "channels.layers.InMemoryChannelLayer", "notify"),
        ("channels", "channels.layers.InMemoryChannelLayer", ""),
        ("auto", "package_that_is_missing.Layer", "notify"),
    ],
)
def test_channel_layer_that_crosses_processes_is_preferred_to_notify(
    settings, monkeypatch, choice, backend, expected
):
    settings.INGESTION_PROGRESS_WAKEUPS = choice
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    monkeypatch.setitem(settings.DATABASES, "default", POSTGRESQL)
    assert transport_name() == expected


@pytest.mark.parametrize("choice", ["channels", "notify"])
def test_transport_that_cannot_be_used_is_an_error_with_the_reason(settings, monkeypatch, choice):
    settings.INGESTION_PROGRESS_WAKEUPS = choice
    monkeypatch.setitem(settings.DATABASES, "default", {"ENGINE": "django.db.backends.sqlite3"})
    (message,) = check_wakeups()
    assert message.id == "ingestion_progress.E005"
    assert {"channels": "CHANNEL_LAYERS", "notify": "PostgreSQL"}[choice] in message.msg


def test_failures_in_a_row_are_one_line_and_their_end_another(caplog):
    caplog.set_level(logging.INFO)
    backoff = new_backoff()
    backoff.succeeded(transport="notify")
    pauses = []
    for _ in range(20):
        backoff.failed(ConnectionError("refused\nby the server"), transport="notify")
        pauses.append(backoff.pause_seconds)
    backoff.succeeded(transport="notify")
    backoff.succeeded(transport="notify")
    assert [record.message for record in caplog.records] == ["wakeups_down", "wakeups_back"]
    assert [record.transport for record in caplog.records] == ["notify", "notify"]
    assert caplog.records[0].reason == "ConnectionError: refused"
    assert pauses[:3] == [0.5, 1, 2]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LAST_PAUSE_SECONDS


def test_what_is_written_while_the_interpreter_ends_is_not_kept(monkeypatch):
    sender = Sender()

    def fail() -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(sender, "start", fail)
    sender.publish("job", is_end=True)
    assert not sender._job_ids


async def test_channel_layer_delivers_a_notification_to_all_who_receive(monkeypatch):
    layer = InMemoryChannelLayer()
    monkeypatch.setattr("channels.layers.get_channel_layer", lambda: layer)
    sent = Notification.about(["a", "b"], ["b"])
    delivered: list[Notification] = []
    are_ready: list[None] = []
    async with asyncio.timeout(60):
        receiving = [
            asyncio.create_task(
                channels.ChannelsTransport().receive(
                    delivered.append, lambda: are_ready.append(None)
                )
            )
            for _ in range(2)
        ]
        while len(are_ready) < 2:  # noqa: ASYNC110  (nothing else says so)
            await asyncio.sleep(0.01)
        await channels.ChannelsTransport().send(sent)
        while len(delivered) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for task in receiving:
            task.cancel()
        await asyncio.gather(*receiving, return_exceptions=True)
    assert delivered == [sent, sent]
    assert not layer.groups.get(channels.GROUP)  # each has left
