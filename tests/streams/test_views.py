"""The view's decisions. How bytes travel is in `test_servers.py`."""

from __future__ import annotations

import asyncio
import gzip
import logging
import math
import re
import threading
import zlib
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.contrib.auth.models import Permission, User
from django.db import connection, connections, transaction
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils import timezone

from ingestion_progress.auth import tokens
from ingestion_progress.concurrency.request_thread import release_connections
from ingestion_progress.feed import Selection, poller
from ingestion_progress.feed.queries import Changes
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.streams import parameters, views
from ingestion_progress.streams.limits import get_connection_limits

pytestmark = pytest.mark.django_db(transaction=True)

FIRST_STATE = rb"retry: \d+\nevent: pipeline_progress\n"


@pytest.fixture
def records(caplog):
    """What the app itself logs, as a list that grows."""
    caplog.set_level(logging.INFO, "ingestion_progress")
    return lambda: [
        record for record in caplog.records if record.name.startswith("ingestion_progress.")
    ]


@pytest.fixture
def client(feed) -> AsyncClient:
    return AsyncClient()


def url_of(job_id: str) -> str:
    return reverse("ingestion_progress:job_progress", args=[job_id])


async def make_job(status: JobStatus = JobStatus.RUNNING, **fields: Any) -> Job:
    now = timezone.now()
    return await Job.objects.acreate(
        **{
            "id": "job",
            "epoch": "e",
            "revision": 5,
            "status": status,
            "started_at": now,
            "heartbeat_at": now,
            "finished_at": now if status.is_final else None,
        }
        | fields
    )


async def body_of(response) -> bytes:
    """All bytes until the server ends the stream."""
    stream = aiter(response)
    try:
        async with asyncio.timeout(60):
            return b"".join([part async for part in stream])
    finally:
        await stream.aclose()


async def first_of(response) -> bytes:
    stream = aiter(response)
    try:
        async with asyncio.timeout(60):
            return await anext(stream)
    finally:
        await stream.aclose()


def test_address_is_the_contract_s():
    assert url_of("job_123") == "/api/v1/admin/ingestion/jobs/job_123/progress"


async def test_headers_are_the_contract_s(client):
    await make_job()
    response = await client.get(url_of("job"))
    await first_of(response)

    assert response.status_code == 200
    assert response["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response["Cache-Control"] == "no-cache"
    assert response["X-Accel-Buffering"] == "no"
    assert response["Access-Control-Allow-Origin"] == "*"
    assert response["Content-Encoding"] == "identity"
    assert "Accept-Encoding" in response["Vary"]


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("br;q=1.0, GZIP;q=0.8", "gzip"),
        ("gzip;q=0", "identity"),
        ("gzip; q=0.00, br", "identity"),
        ("br, zstd", "identity"),
        ("*", "identity"),
    ],
)
async def test_client_that_accepts_gzip_gets_it(client, accepted, encoding):
    await make_job()
    response = await client.get(url_of("job"), headers={"Accept-Encoding": accepted})
    first = await first_of(response)

    assert response["Content-Encoding"] == encoding
    if encoding == "gzip":
        first = zlib.decompressobj(wbits=31).decompress(first)
    assert re.match(FIRST_STATE, first)


async def test_site_that_does_not_compress_never_does(client, settings):
    settings.INGESTION_PROGRESS_COMPRESSED = False
    await make_job()
    response = await client.get(url_of("job"), headers={"Accept-Encoding": "gzip"})

    assert re.match(FIRST_STATE, await first_of(response))
    assert response["Content-Encoding"] == "identity"


async def test_gzip_middleware_leaves_a_plain_stream_alone(client, settings):
    settings.INGESTION_PROGRESS_COMPRESSED = False
    settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *settings.MIDDLEWARE]
    await make_job()
    response = await client.get(url_of("job"), headers={"Accept-Encoding": "gzip"})

    assert response["Content-Encoding"] == "identity"
    assert re.match(FIRST_STATE, await first_of(response))


async def test_compressed_stream_is_complete_at_its_end(client):
    await make_job(JobStatus.SUCCEEDED)
    response = await client.get(url_of("job"), headers={"Accept-Encoding": "gzip"})

    body = gzip.decompress(await body_of(response))

    assert body.endswith(b"event: complete\ndata: {}\n\n")


async def test_open_stream_begins_with_a_retry(client):
    await make_job()
    waits = set()
    for _ in range(5):
        body = await first_of(await client.get(url_of("job")))
        waits.add(int(re.fullmatch(rb"(?s)retry: (\d+)\nevent: .*\n\n", body)[1]))

    assert len(waits) > 1
    assert 1000 <= min(waits) <= max(waits) <= 5000


@pytest.mark.parametrize(("http_version", "connection"), [("1.1", "keep-alive"), ("2", None)])
async def test_connection_header_is_sent_on_http_1_1_only(feed, http_version, connection):
    client = AsyncClient(http_version=http_version)
    response = await client.get(url_of("job"))
    await body_of(response)

    assert response.get("Connection") == connection


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (JobStatus.SUCCEEDED, b"event: complete\ndata: {}\n\n"),
        (
            JobStatus.FAILED,
            b'event: error\ndata: {"message":"Out of paper","job_id":"job","code":"failed"}\n\n',
        ),
        (
            JobStatus.CANCELLED,
            b'event: error\ndata: {"message":"Out of paper","job_id":"job","code":"cancelled"}\n\n',
        ),
        (
            JobStatus.LOST,
            b'event: error\ndata: {"message":"Out of paper","job_id":"job","code":"lost"}\n\n',
        ),
    ],
)
async def test_each_final_status_ends_the_stream_after_its_last_state(client, status, ending):
    await make_job(status, error="" if status is JobStatus.SUCCEEDED else "Out of paper")
    body = await body_of(await client.get(url_of("job")))

    assert re.match(rb"event: pipeline_progress\nid: e-5-\d+\ndata: {", body)
    assert body.endswith(ending)
    assert (b'"overall_progress_percent":100.0' in body) == (status is JobStatus.SUCCEEDED)


async def test_unknown_job_gets_the_contract_s_error_event(client):
    body = await body_of(await client.get(url_of("job_123")))

    assert body == (
        b'event: error\ndata: {"message":"Job not found: job_123","job_id":"job_123",'
        b'"code":"not_found"}\n\n'
    )


@pytest.mark.parametrize(
    "job_id", ["x\x00y", "x" * 300, "a/b", "../../etc", "%", "line\nbreak", "\u202egpj", " x "]
)
async def test_hostile_id_is_an_unknown_job(client, job_id, records):
    response = await client.get(url_of(job_id))

    assert b'"code":"not_found"' in await body_of(response)
    started = records()[0]
    assert started.getMessage() == "sse_stream_started"
    assert started.job_id.isprintable()
    assert len(started.job_id) <= 255


class TestResume:
    async def test_client_with_the_final_state_gets_204(self, client):
        job = await make_job(JobStatus.SUCCEEDED)

        response = await client.get(url_of("job"), headers={"Last-Event-ID": job.version})

        assert response.status_code == 204
        assert response.content == b""
        assert response["Access-Control-Allow-Origin"] == "*"
        of_a_body = {"content-type", "content-encoding", "cache-control", "x-accel-buffering"}
        assert not of_a_body & {name.lower() for name in response.headers}

    async def test_the_query_string_serves_clients_without_headers(self, client):
        job = await make_job(JobStatus.FAILED)

        response = await client.get(url_of("job"), {"last_event_id": job.version})

        assert response.status_code == 204

    async def test_client_with_the_current_state_gets_only_the_next(self, client):
        job = await make_job()
        response = await client.get(url_of("job"), headers={"Last-Event-ID": job.version})
        stream = aiter(response)
        assert (await anext(stream)).startswith(b": keepalive\n\n")

        await Job.objects.aupdate(revision=6)

        assert re.match(FIRST_STATE + rb"id: e-6-", await anext(stream))
        await stream.aclose()

    @pytest.mark.parametrize("last_event_id", ["e-5", "old-5", "nonsense", "", "é", "5" * 4000])
    async def test_any_other_id_is_treated_as_absent(self, client, last_event_id):
        job = await make_job(JobStatus.SUCCEEDED)

        response = await client.get(url_of("job"), headers={"Last-Event-ID": last_event_id})

        assert f"id: {job.version}\n".encode() in await body_of(response)

    async def test_cursor_from_before_a_restored_backup_gets_the_state(self, client):
        job = await make_job()
        seen = job.version
        # Another write made the same revision, and ended the job.
        now = timezone.now() + timedelta(seconds=1)
        await Job.objects.aupdate(status=JobStatus.LOST, finished_at=now, updated_at=now)

        response = await client.get(url_of("job"), headers={"Last-Event-ID": seen})

        assert b"event: error" in await body_of(response)


class TestRefusals:
    @pytest.fixture(autouse=True)
    def closed(self, settings):
        settings.INGESTION_PROGRESS_PUBLIC = False
        settings.INGESTION_PROGRESS_CORS_ORIGINS = ["https://app.example.com"]

    async def test_stranger_gets_401_as_json(self, client):
        response = await client.get(url_of("job"))

        assert response.status_code == 401
        assert response.json()["code"] == "unauthorized"
        assert "Access-Control-Allow-Origin" not in response

    async def test_middleware_that_requires_a_login_does_not_redirect(self, client, settings):
        settings.MIDDLEWARE = [
            *settings.MIDDLEWARE,
            "django.contrib.auth.middleware.LoginRequiredMiddleware",
        ]
        assert (await client.get(url_of("job"))).status_code == 401

    async def test_user_without_permission_gets_403(self, client, django_user_model):
        await client.aforce_login(await django_user_model.objects.acreate_user("ada"))

        response = await client.get(url_of("job"))

        assert response.status_code == 403
        assert response.json()["code"] == "forbidden"

    async def test_user_with_permission_watches(self, client, django_user_model):
        user = await django_user_model.objects.acreate_user("ada")
        await user.user_permissions.aadd(await Permission.objects.aget(codename="view_job"))
        await client.aforce_login(user)
        await make_job(JobStatus.SUCCEEDED)

        response = await client.get(url_of("job"), headers={"Origin": "https://app.example.com"})

        assert b"event: complete" in await body_of(response)
        assert response["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert response["Access-Control-Allow-Credentials"] == "true"
        assert "origin" in response["Vary"].lower()

    @pytest.mark.parametrize("where", ["header", "url"])
    async def test_token_for_the_job_permits_the_stream(self, client, where):
        await make_job(JobStatus.SUCCEEDED)
        token, _ = tokens.issue(["job"])
        headers = {"Authorization": f"Bearer {token}"} if where == "header" else {}
        query = {"token": token} if where == "url" else {}

        response = await client.get(url_of("job"), query, headers=headers)

        assert b"event: complete" in await body_of(response)

    @pytest.mark.parametrize(
        ("jobs", "audience", "answer"),
        [
            (["other"], "ingestion-progress", (403, "forbidden")),
            (["job"], "somebody-else", (401, "token_invalid")),
        ],
    )
    async def test_any_other_token_is_refused_before_a_stream_starts(
        self, client, settings, jobs, audience, answer
    ):
        settings.INGESTION_PROGRESS_TOKEN_AUDIENCE = audience
        token, _ = tokens.issue(jobs)
        settings.INGESTION_PROGRESS_TOKEN_AUDIENCE = "ingestion-progress"

        response = await client.get(url_of("job"), {"token": token})

        assert (response.status_code, response.json()["code"]) == answer

    @pytest.mark.parametrize("origin", ["https://evil.example.com", "null", ""])
    async def test_other_origins_are_not_named(self, client, origin):
        response = await client.get(url_of("job"), headers={"Origin": origin})

        assert "Access-Control-Allow-Origin" not in response
        assert "origin" in response["Vary"].lower()


class TestMethods:
    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
    async def test_only_get_and_head(self, method):
        client = AsyncClient(enforce_csrf_checks=True)  # as a program that was never here before
        response = await getattr(client, method)(url_of("job"))

        assert response.status_code == 405
        assert response["Allow"] == "GET, HEAD, OPTIONS"
        assert response.json()["code"] == "method_not_allowed"

    async def test_head_has_the_headers_and_no_stream(self, client, feed):
        response = await client.head(url_of("job"))

        assert response["Content-Type"].startswith("text/event-stream")
        assert await body_of(response) == b""

    async def test_options_lists_the_allowed_methods(self, client):
        response = await client.options(url_of("job"))

        assert response.status_code == 204
        assert response["Allow"] == "GET, HEAD, OPTIONS"
        assert response["Access-Control-Allow-Headers"] == (
            "Authorization, Cache-Control, Last-Event-ID"
        )


class TestUnavailable:
    @pytest.fixture(autouse=True)
    def database_down(self, settings):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.without_database"
        settings.INGESTION_PROGRESS_CORS_ORIGINS = ["https://spa.example.com"]

    async def test_client_reconnects_after_some_seconds(self, client, records):
        waits = set()
        for _ in range(20):
            response = await client.get(
                url_of("job"), headers={"Origin": "https://spa.example.com"}
            )
            assert (response.status_code, response["Content-Encoding"]) == (200, "identity")
            waits.add(int(re.fullmatch(rb"retry: (\d+)\n", await body_of(response))[1]))

        assert 2000 <= min(waits) < max(waits) <= 10_000
        assert response["Vary"] == "Origin, Accept-Encoding"
        record = records()[0]
        assert (record.message, record.code, record.path, record.client_ip) == (
            "sse_stream_refused", "unavailable", url_of("job"), "127.0.0.1",
        )  # fmt: skip

    async def test_head_has_no_body(self, client):
        assert await body_of(await client.head(url_of("job"))) == b""

    async def test_refusal_names_the_allowed_origin(self, client, settings):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.asked_in_person"
        origin = "https://spa.example.com"
        response = await client.get(url_of("job"), headers={"Origin": origin})

        assert (response.status_code, response["Access-Control-Allow-Origin"]) == (401, origin)


class TestAuthorising:
    async def test_few_requests_query_the_database_at_once(self, client, settings, monkeypatch):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.streams.test_views.note_free_slots"
        monkeypatch.setattr(views, "AUTHORISING", threading.BoundedSemaphore(3))
        await client.get(url_of("job"))
        assert FREE_SLOTS == [2]
        assert views.AUTHORISING._value == 3

    def test_connection_is_closed_with_the_check(self, rf, settings):
        settings.INGESTION_PROGRESS_PUBLIC = False
        request = rf.get("/")
        request.user = User.objects.create_superuser("ada")
        assert connection.connection is not None
        views._grant(request, Selection.one("job"))
        assert connection.connection is None

    def test_last_event_id_is_the_header_or_else_the_parameter(self, rf):
        for headers, expected in (({"Last-Event-ID": "h"}, "h"), ({}, "q")):
            request = rf.get("/", {"last_event_id": "q"}, headers=headers)
            assert parameters.last_event_id(request) == expected
        assert parameters.last_event_id(rf.get("/")) == ""


FREE_SLOTS: list[int] = []


def note_free_slots(request, job_id):
    FREE_SLOTS.append(views.AUTHORISING._value)
    return False


def test_wsgi_gets_an_answer_that_names_asgi():
    response = Client().get(url_of("job"))

    assert response.status_code == 501
    assert "ASGI" in response.json()["message"]


class TestLogs:
    async def test_completed_stream_logs_its_final_percentage(self, client, records, caplog):
        await make_job(JobStatus.SUCCEEDED)
        await body_of(await client.get(url_of("job") + "?token=secret"))

        started, completed = records()
        assert (started.getMessage(), started.job_id) == ("sse_stream_started", "job")
        assert started.client_ip == "127.0.0.1"
        assert (completed.getMessage(), completed.percent) == ("sse_stream_completed", 100.0)
        assert "secret" not in repr([vars(record) for record in caplog.records])

    async def test_disconnect_is_logged_and_the_subscription_removed(self, client, feed, records):
        await make_job()
        stream = aiter(await client.get(url_of("job")))
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await stream.aclose()
        await stream.aclose()

        assert feed.subscriber_count == 0
        assert [record.getMessage() for record in records()] == [
            "sse_stream_started",
            "sse_client_disconnected",
        ]

    async def test_rotated_stream_logs_what_was_sent(self, client, feed, records):
        await make_job(reached_percent=40)
        stream = aiter(await client.get(url_of("job")))
        await anext(stream)
        feed.rotate(math.inf)
        rest = [part async for part in stream]
        await stream.aclose()

        assert len(rest) == 1
        record = records()[-1]
        assert (record.message, record.percent, record.frames_sent) == (
            "sse_stream_rotated",
            40.0,
            1,
        )
        assert (record.job_id, record.client_ip) == ("job", "127.0.0.1")

    async def test_disconnect_before_the_first_state_removes_the_subscription(
        self, client, feed, monkeypatch, records
    ):
        frozen = threading.Event()
        monkeypatch.setattr(poller, "read_changes", lambda *args: frozen.wait(30) and Changes())
        request = asyncio.create_task(client.get(url_of("job")))
        for _ in range(500):
            await asyncio.sleep(0 if feed.subscriber_count else 0.01)
        assert feed.subscriber_count == 1
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        frozen.set()

        assert feed.subscriber_count == 0
        assert not get_connection_limits()._connections  # it counts for no limit any longer
        assert [record.getMessage() for record in records()] == ["sse_client_disconnected"]


async def test_connections_are_closed_before_the_first_byte(client):
    await make_job()
    response = await client.get(url_of("job"))
    stream = aiter(response)

    def open_connections() -> list[str]:
        return [
            connection.alias
            for connection in connections.all(initialized_only=True)
            if connection.connection is not None
        ]

    await sync_to_async(Job.objects.count)()
    assert await sync_to_async(open_connections)() == ["default"]
    await anext(stream)
    assert await sync_to_async(open_connections)() == []
    await stream.aclose()


def test_connection_inside_a_transaction_is_left_alone():
    with transaction.atomic():
        release_connections()

        assert transaction.get_connection().connection is not None


async def test_middleware_does_not_wrap_the_stream(client):
    await make_job(JobStatus.SUCCEEDED)
    response = await client.get(url_of("job"))
    response.streaming_content = iter([b"compressed beyond recognition"])

    assert b"event: complete" in await body_of(response)


SPA = "https://spa.example.com"
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET",
    "Access-Control-Allow-Headers": "Authorization, Cache-Control, Last-Event-ID",
    "Access-Control-Max-Age": "86400",
}
NAMED = {
    "Access-Control-Allow-Origin": SPA,
    "Access-Control-Allow-Credentials": "true",
    "Vary": "Origin",
}


@pytest.mark.parametrize(
    ("access", "origin", "headers"),
    [
        ((True, ""), "https://evil.example.com", {"Access-Control-Allow-Origin": "*"}),
        ((True, "tests.support.rules.own_jobs_only"), SPA, NAMED),
        ((False, ""), SPA, NAMED),
        ((False, ""), "https://evil.example.com", {"Vary": "Origin"}),
        ((False, ""), "", {"Vary": "Origin"}),
    ],
)
def test_origin_is_named_if_it_is_allowed(rf, settings, access, origin, headers):
    settings.INGESTION_PROGRESS_PUBLIC, settings.INGESTION_PROGRESS_CAN_VIEW = access
    settings.INGESTION_PROGRESS_CORS_ORIGINS = [SPA]
    request = rf.get("/", headers={"Origin": origin} if origin else {})

    assert views.cors_headers(request) == headers


async def test_preflight_request_names_what_a_page_may_send(client, settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    settings.INGESTION_PROGRESS_CORS_ORIGINS = [SPA]
    response = await client.options(url_of("job"), headers={"Origin": SPA})

    assert PREFLIGHT.items() <= dict(response.items()).items()
    assert response["Access-Control-Allow-Origin"] == SPA
    assert response["Access-Control-Allow-Credentials"] == "true"


async def test_stream_keeps_no_thread_of_its_request(client):
    """10,000 streams would be 10,000 threads behind Django's own handler."""
    await make_job()
    async with ThreadSensitiveContext() as context:
        await sync_to_async(threading.get_ident)()
        response = await client.get(url_of("job"))
        assert context in SyncToAsync.context_to_thread_executor
        stream = aiter(response)
        await anext(stream)
        assert context not in SyncToAsync.context_to_thread_executor
        await stream.aclose()
