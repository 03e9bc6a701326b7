"""What `EventStreams` does with a request, beside what Django's own handler does with it."""

from __future__ import annotations

import asyncio
import gc
import gzip
import logging
import re
import threading
import weakref
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core import signals
from django.core.handlers.asgi import ASGIHandler
from django.db import OperationalError, connections
from django.http.response import ResponseHeaders
from django.test import AsyncRequestFactory
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import async_only_middleware, sync_only_middleware

from ingestion_progress.asgi import EventStreams
from ingestion_progress.auth.permissions import Grant
from ingestion_progress.feed import Selection
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.streams import asgi
from ingestion_progress.streams.limits import get_connection_limits
from ingestion_progress.streams.response import EventStream, EventStreamResponse
from tests.support import rules
from tests.support.exchanges import Exchange

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("feed")]

ALL_JOBS = "/api/v1/admin/ingestion/progress"
WRITTEN_AT = datetime(2026, 1, 1, tzinfo=UTC)
# Of the job that `make_job` makes.
VERSION = "e-5-1767225600000"
RETRY = re.compile(rb"retry: \d+\n")


def streams_application() -> EventStreams:
    return EventStreams(ASGIHandler())


def url_of(job_id: str) -> str:
    return reverse("ingestion_progress:job_progress", args=[job_id])


def get(path: str = url_of("job"), *headers: tuple[str, str], method: str = "GET") -> Exchange:
    return Exchange(path, [b""], headers, method=method)


async def make_job(status: JobStatus = JobStatus.RUNNING) -> None:
    now = timezone.now()
    await Job.objects.acreate(
        id="job",
        epoch="e",
        revision=5,
        updated_at=WRITTEN_AT,
        status=status,
        started_at=now,
        heartbeat_at=now,
        finished_at=now if status.is_final else None,
    )


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  (the database and Django have no event for it)
            await asyncio.sleep(0.005)


def set_cookies(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        response = get_response(request)
        response.set_cookie("first", "1", expires="Fri, 01 Jan 2027 00:00:00 GMT")
        response.set_cookie("second", "2", httponly=True)
        return response

    return middleware


@pytest.mark.parametrize(
    "exchange",
    [
        get,
        lambda: get(url_of("job"), ("accept-encoding", "gzip")),
        lambda: get(url_of("job"), ("last-event-id", VERSION)),
        lambda: get(url_of("job"), ("last-event-id", "e-4-1767225600000")),
        lambda: get(url_of("nothing")),
        lambda: get(method="HEAD"),
        lambda: get(method="OPTIONS"),
        lambda: get(method="DELETE"),
        lambda: get("/api/v1/admin/ingestion/no/such/progress"),
        lambda: get(ALL_JOBS),
    ],
    ids=[
        "whole",
        "gzip",
        "known",
        "resumed",
        "unknown",
        "HEAD",
        "OPTIONS",
        "DELETE",
        "404",
        "until",
    ],
)
@pytest.mark.parametrize("is_public", [True, False], ids=["public", "closed"])
async def test_response_is_that_of_djangos_handler(settings, exchange, is_public):
    settings.INGESTION_PROGRESS_PUBLIC = is_public
    settings.INGESTION_PROGRESS_MAX_STREAM_SECONDS = 0.05  # the stream of all jobs has no other end
    await make_job(JobStatus.SUCCEEDED)

    ours = await exchange().through(streams_application())
    theirs = await exchange().through(ASGIHandler())

    assert ours.sent[0]["status"] == theirs.sent[0]["status"]
    assert ours.headers == {
        # Django's CommonMiddleware says of a 204 that it is empty, which goes without saying.
        name: value
        for name, value in theirs.headers.items()
        if (theirs.status, name) != (204, "content-length") or name in ours.headers
    }
    assert RETRY.sub(b"", ours.body) == RETRY.sub(b"", theirs.body)
    assert not ours.sent[-1].get("more_body")


async def test_cookies_and_headers_are_those_of_djangos_handler(settings):
    settings.MIDDLEWARE = [f"{__name__}.set_cookies", *settings.MIDDLEWARE]
    await make_job(JobStatus.SUCCEEDED)

    ours = await get().through(streams_application())
    theirs = await get().through(ASGIHandler())

    assert sorted(ours.sent[0]["headers"]) == sorted(theirs.sent[0]["headers"])
    assert [name for name, _ in ours.sent[0]["headers"]].count(b"Set-Cookie") == 2


async def test_open_stream_keeps_no_headers_in_memory(feed):
    """Some kilobytes, for each of thousands of streams."""
    await make_job()
    exchange = get()
    answering = asyncio.create_task(exchange.through(streams_application()))
    await until(lambda: len(exchange.sent) == 2)
    gc.collect()  # what earlier requests left in cycles
    kept = [each for each in gc.get_objects() if isinstance(each, ResponseHeaders)]

    assert not any("text/event-stream" in each.get("Content-Type", "") for each in kept)
    exchange.has_left.set()
    await answering


async def test_frames_after_the_first_are_written_by_the_feed(monkeypatch):
    """The task of the stream sleeps until the end: nothing wakes it for a frame."""
    await make_job()
    exchange = get()
    writers = set()
    send = exchange.send

    async def noted(message: Any) -> None:
        writers.add(asyncio.current_task())
        await send(message)

    exchange.send = noted  # type: ignore[method-assign]
    answering = asyncio.create_task(exchange.through(streams_application()))
    await until(lambda: len(exchange.sent) == 2)
    writers.clear()
    for revision in (6, 7):
        await Job.objects.filter(pk="job").aupdate(revision=revision)
        await until(lambda: b"id: e-%d" % revision in exchange.body)  # noqa: B023

    assert len(writers) == 1
    assert answering not in writers
    exchange.has_left.set()
    await answering


async def test_middleware_view_and_signals_take_two_steps_of_one_thread(settings, monkeypatch):
    steps: list[str] = []

    class Counted(asgi.WorkerThread):
        async def run(self, *args: Any, **kwargs: Any) -> Any:
            steps.append("step")
            return await super().run(*args, **kwargs)

    monkeypatch.setattr(asgi, "WorkerThread", Counted)
    settings.MIDDLEWARE = [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
    await make_job(JobStatus.SUCCEEDED)

    exchange = await get().through(streams_application())

    assert b"event: complete" in exchange.body
    assert len(steps) == 2


seen_threads: list[threading.Thread] = []


@sync_only_middleware
def note_thread(get_response):
    def middleware(request):
        seen_threads.append(threading.current_thread())
        Job.objects.exists()
        return get_response(request)

    return middleware


async def test_many_streams_share_few_threads_and_hold_no_connection(settings):
    settings.MIDDLEWARE = [f"{__name__}.note_thread"]
    seen_threads.clear()
    await make_job()
    application = streams_application()
    crowd = [get() for _ in range(20)]
    answers = [asyncio.create_task(exchange.through(application)) for exchange in crowd]
    await until(lambda: all(exchange.sent[1:] for exchange in crowd))

    assert len(set(seen_threads)) == asgi.THREADS
    assert all("streams" in thread.name for thread in seen_threads)
    for _ in range(asgi.THREADS):
        thread = next(application._threads)
        held = await thread.run(lambda: [each.connection for each in connections.all()])
        assert held == [None] * len(held)
    for exchange in crowd:
        exchange.has_left.set()
    await asyncio.gather(*answers)


@async_only_middleware
def add_header(get_response):
    async def middleware(request):
        await sync_to_async(Job.objects.exists)()
        response = await get_response(request)
        response["X-Async"] = "yes"
        return response

    return middleware


async def test_middleware_that_is_only_async_runs_too(settings):
    settings.MIDDLEWARE = [
        "django.middleware.common.CommonMiddleware",
        f"{__name__}.add_header",
        "django.middleware.csrf.CsrfViewMiddleware",
    ]
    await make_job(JobStatus.SUCCEEDED)

    exchange = await get().through(streams_application())

    assert exchange.headers["x-async"] == "yes"
    assert b"event: complete" in exchange.body


@pytest.mark.parametrize("path", ["/", "/progress", "/api/v1/admin/ingestion/jobs"])
async def test_other_requests_are_passed_to_the_application(path):
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["path"])

    await EventStreams(application)(get(path).scope, None, None)

    assert seen == [path]


async def test_other_scopes_are_passed_to_the_application():
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["type"])

    await EventStreams(application)({"type": "lifespan"}, None, None)

    assert seen == ["lifespan"]


@pytest.fixture
def finished():
    """How often Django said that a request has finished."""
    senders = []

    def note(sender, **kwargs):
        senders.append(sender)

    signals.request_finished.connect(note)
    yield senders
    signals.request_finished.disconnect(note)


async def test_disconnect_is_logged_and_cleaned_up(feed, caplog, finished):
    caplog.set_level(logging.INFO, "ingestion_progress")
    await make_job()
    exchange = get()
    answering = asyncio.create_task(exchange.through(streams_application()))
    await until(lambda: exchange.body)
    exchange.has_left.set()
    await answering

    assert feed.subscriber_count == 0
    assert [record.getMessage() for record in caplog.records if "sse" in record.getMessage()] == [
        "sse_stream_started",
        "sse_client_disconnected",
    ]
    assert finished == [EventStreams]
    assert exchange.sent[-1]["more_body"]


async def test_disconnect_before_the_first_state_is_cleaned_up(feed, monkeypatch):
    frozen = threading.Event()
    from ingestion_progress.feed import poller

    monkeypatch.setattr(poller, "read_changes", lambda *args: frozen.wait(30))
    exchange = get()
    answering = asyncio.create_task(exchange.through(streams_application()))
    await until(lambda: feed.subscriber_count)
    exchange.has_left.set()
    await answering
    frozen.set()

    assert exchange.sent == []
    assert not get_connection_limits()._connections


async def test_rule_that_hangs_is_abandoned_and_the_client_reconnects(settings, monkeypatch):
    monkeypatch.setattr(asgi, "TIMEOUT_SECONDS", 0.05)
    settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.when_released"
    rules.released.clear()
    await make_job()
    application = streams_application()
    crowd = [get() for _ in range(2 * asgi.THREADS)]
    await asyncio.gather(*(each.through(application) for each in crowd))
    rules.released.set()
    later = await get(url_of("nothing")).through(application)

    assert {each.status for each in crowd} == {200}
    assert all(RETRY.fullmatch(each.body) for each in crowd)
    assert b"not_found" in later.body


async def test_error_of_the_feed_reaches_the_server(feed, monkeypatch):
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("The feed is in use in another event loop of this process.")

    monkeypatch.setattr(type(feed), "join", refuse)
    with pytest.raises(RuntimeError, match="another event loop"):
        await get().through(streams_application())


async def test_body_is_read_and_an_incomplete_body_ends_the_request(feed, finished):
    await make_job(JobStatus.SUCCEEDED)
    length = ("content-length", "4")
    brought = Exchange(url_of("job"), [b"no", b"pe"], [length], method="GET")
    unasked = Exchange(url_of("job"), [b"", b""], [], method="GET")
    gone = Exchange(url_of("job"), [], [], method="GET")
    gone.has_left.set()
    for exchange in (brought, unasked, gone):
        await exchange.through(streams_application())

    assert brought.body == unasked.body
    assert b"event: complete" in brought.body
    assert gone.sent == []
    assert len(finished) == 2  # nothing was queried for the one that is gone


async def test_cancellation_by_the_server_is_passed_on(feed, finished):
    await make_job()
    exchange = get()
    answering = asyncio.create_task(
        streams_application()(exchange.scope, exchange.receive, exchange.send)
    )
    await until(lambda: exchange.body)
    answering.cancel()

    with pytest.raises(asyncio.CancelledError):
        await answering
    assert feed.subscriber_count == 0


async def test_cancellation_of_a_complete_stream_raises_no_error(monkeypatch):
    may_close = threading.Event()
    is_closing = asyncio.Event()
    loop = asyncio.get_running_loop()

    def close(response: Any) -> None:
        loop.call_soon_threadsafe(is_closing.set)
        may_close.wait(30)

    monkeypatch.setattr(EventStreamResponse, "close", close)
    await make_job(JobStatus.SUCCEEDED)
    exchange = get()
    answering = asyncio.create_task(exchange.through(streams_application()))
    async with asyncio.timeout(60):
        await is_closing.wait()
    answering.cancel()
    loop.call_later(0.05, may_close.set)

    await answering
    assert not exchange.sent[-1].get("more_body")


async def test_aborted_stream_ends_without_an_error(feed):
    await make_job()
    exchange = get()
    answering = asyncio.create_task(
        streams_application()(exchange.scope, exchange.receive, exchange.send)
    )
    await until(lambda: exchange.body)
    (subscriber,) = feed._subscriptions
    subscriber.abort()

    await answering
    assert feed.subscriber_count == 0


async def test_open_stream_keeps_no_request(feed):
    await make_job()
    request = AsyncRequestFactory().get("/")
    stream = EventStream(request, Selection.one("job"), Grant(), encoding="identity")
    await stream.begin()
    kept = weakref.ref(request)
    del request
    gc.collect()
    assert kept() is None
    stream.end()


async def test_stream_that_does_not_begin_logs_the_reason(settings, feed, caplog):
    caplog.set_level(logging.INFO, "ingestion_progress")
    await make_job(JobStatus.SUCCEEDED)
    await get(url_of("job"), ("last-event-id", VERSION)).through(streams_application())
    settings.INGESTION_PROGRESS_MAX_STREAMS = 1
    await Job.objects.aupdate(status=JobStatus.RUNNING, finished_at=None)
    first = get()
    answering = asyncio.create_task(first.through(streams_application()))
    await until(lambda: first.body)
    await get().through(streams_application())
    first.has_left.set()
    await answering

    messages = [record.getMessage() for record in caplog.records]
    assert [each for each in messages if each.startswith("sse_")] == [
        "sse_stream_up_to_date",
        "sse_stream_started",
        "sse_stream_refused",
        "sse_client_disconnected",
    ]


def away(*args: Any) -> None:
    raise OperationalError


@pytest.mark.parametrize("handler", [ASGIHandler, streams_application], ids=["django", "ours"])
@pytest.mark.parametrize(
    "refused",
    [
        (get, None, "request_finished 401"),
        (lambda: get(ALL_JOBS), None, "request_finished 401"),
        (lambda: get(method="DELETE"), None, "request_finished 405"),
        (get, away, "sse_stream_refused unavailable"),
    ],
    ids=["job", "jobs", "method", "database"],
)
async def test_refused_stream_has_one_line_in_the_log(
    settings, caplog, monkeypatch, handler, refused
):
    exchange, rule, line = refused
    settings.INGESTION_PROGRESS_PUBLIC = False
    if rule:
        monkeypatch.setattr("ingestion_progress.auth.permissions.grant_view_of_each", rule)
    caplog.set_level(logging.INFO)
    await exchange().through(handler())

    (record,) = [each for each in caplog.records if each.name != "asyncio"]
    assert f"{record.getMessage()} {getattr(record, 'status', None) or record.code}" == line
    assert record.levelno == (logging.INFO if rule else logging.WARNING)


@pytest.mark.parametrize(("encoding", "decoded"), [("gzip", gzip.decompress), ("identity", bytes)])
async def test_too_many_streams_is_sent_in_the_encoding_of_the_response(
    settings, encoding, decoded
):
    settings.INGESTION_PROGRESS_MAX_STREAMS = 1
    await make_job()
    application = streams_application()
    first = get()
    watching = asyncio.create_task(first.through(application))
    await until(lambda: first.body)

    second = await get(url_of("job"), ("accept-encoding", encoding)).through(application)

    assert second.headers["content-encoding"] == encoding
    assert b'"code":"too_many_streams"' in decoded(second.body)
    first.has_left.set()
    await watching
