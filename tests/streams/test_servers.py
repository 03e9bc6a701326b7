"""The stream as clients get it: real servers, sockets and writers in processes of their own."""

from __future__ import annotations

import itertools
import json
import re
import socket
import statistics
import subprocess
import time
import uuid
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import httpx
import pytest
from playwright._impl._driver import compute_driver_executable

from tests.support.curl import CURL, needs_curl
from tests.support.event_streams import events, open_stream, percentages, progress_url, watch
from tests.support.live import SERVERS, LiveProject, LiveServer

RUN = """
    import sys, threading, time
    from ingestion_progress import track
    from ingestion_progress.tracker import request_cancellation

    def run(job_id, ending, count):
        try:
            with track("report.pdf", job_id=job_id, stages=["parsing", "chunking"]) as job:
                for name in job.stage_names:
                    with job.stage(name, total=count) as stage:
                        for number in stage.iterate(range(count)):
                            time.sleep(0.05)
                            if name == "chunking" and number == 3 and ending == "failed":
                                raise ValueError("the 4th page is upside down")
                            if name == "chunking" and number == 3 and ending == "cancelled":
                                request_cancellation(job_id)
        except Exception:
            pass

    for job in sys.argv[1:]:
        job_id, ending, count = job.split(":")
        threading.Thread(target=run, args=(job_id, ending, int(count)), daemon=True).start()
"""
PAGES = 3
# One step of a job; the one after its last page ends it.
WRITE = f"""
    import sys
    from ingestion_progress.progress_manager import get_progress_manager
    manager, job_id, processed = get_progress_manager(), sys.argv[1], int(sys.argv[2])
    if processed == 0:
        manager.start_document(job_id, "report.pdf", stages=["parsing"])
    if processed <= {PAGES}:
        manager.update_stage_sync(job_id, "parsing", processed=processed, total={PAGES})
    else:
        manager.complete_document(job_id)
"""
# As curl does it below: the headers, then the body as it comes. Node asks for gzip by itself.
FETCH = """
const response = await fetch(process.argv[1], {signal: AbortSignal.timeout(120_000)});
for (const [name, value] of response.headers) console.log(`${name}: ${value}`);
console.log();
for await (const text of response.body.pipeThrough(new TextDecoderStream()))
  process.stdout.write(text);
"""
READERS = {
    "curl": [*CURL, "--compressed", "--dump-header", "-"],
    # The one that Playwright brings along.
    "node": [compute_driver_executable()[0], "--input-type=module", "--eval", FETCH],
}
QUICK = {
    "LOG_FORMAT": "json",
    "KEEPALIVE_SECONDS": "1",
    "LOST_AFTER_SECONDS": "2",
    "HEARTBEAT_SECONDS": "0.5",
}


def chunks_of(body: bytes) -> Iterator[bytes]:
    """What the chunks of a body hold; it has to consist of them."""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n"
        yield rest[:length]
        body = rest[length + 2 :]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, sqlite_project: LiveProject) -> Iterator[LiveServer]:
    live = sqlite_project.serve(request.param, **QUICK)
    yield live
    live.process.terminate()
    live.process.wait(30)


@pytest.fixture
def job_id() -> str:
    return uuid.uuid4().hex


def start(live: LiveServer, *jobs: str) -> None:
    """Runs jobs, given as `id:ending:count`, in the process that the project keeps for scripts."""
    live.project.ask(RUN, *jobs)
    for job in jobs:
        live.project.wait_for_job(job.split(":")[0])


def app_logs(project: LiveProject, job_id: str) -> list[dict]:
    """What the servers logged about the streams of one job."""
    return [
        record
        for record in project.records()
        if record.get("job_id") == job_id and record["event"].startswith("sse_")
    ]


def wait_for_log(project: LiveProject, job_id: str, event: str, seconds: float = 60) -> dict:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for record in app_logs(project, job_id):
            if record["event"] == event:
                return record
        time.sleep(0.005)
    raise AssertionError(f"no {event} in the log")


def raw_stream(url: str, *headers: str, version: str = "1.1") -> socket.socket:
    """A socket that has asked for the stream and read nothing yet."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=60)
    lines = [f"GET {parts.path} HTTP/{version}", f"Host: {parts.netloc}", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode())
    return connection


def read_until(connection: socket.socket, needle: bytes) -> bytes:
    received = b""
    while needle not in received:
        part = connection.recv(65536)
        assert part, f"closed before {needle!r}: {received!r}"
        received += part
    return received


def test_run_is_seen_from_its_first_state_to_complete(server, job_id):
    start(server, f"{job_id}:succeeded:30")
    seen = watch(progress_url(server.url, job_id))

    percents = percentages(seen)
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert len(set(percents)) > 3
    names = [event.name for event in seen[:3]]
    assert names == ["pipeline_progress", "forecast", "job_state"]
    assert (seen[-1].name, seen[-1].data) == ("complete", {})
    ids = [event.cursor for event in seen if event.name == "pipeline_progress"]
    assert len(set(ids)) == len(ids)
    completed = wait_for_log(server.project, job_id, "sse_stream_completed")
    assert completed["percent"] == 100


@pytest.mark.parametrize("name", SERVERS)
def test_djangos_own_handler_streams_a_run_as_well(sqlite_project, name, job_id):
    plain = sqlite_project.serve(name, application="tests.support.plain_asgi:application", **QUICK)
    start(plain, f"{job_id}:succeeded:20")
    seen = watch(progress_url(plain.url, job_id))

    percents = percentages(seen)
    assert percents == sorted(percents)
    assert len(set(percents)) > 2
    assert (seen[-1].name, seen[-1].data) == ("complete", {})
    assert wait_for_log(sqlite_project, job_id, "sse_stream_completed")["percent"] == 100


def test_states_of_a_client_keep_the_distance_of_the_throttle(server, job_id):
    start(server, f"{job_id}:succeeded:30")
    arrivals = []
    with open_stream(progress_url(server.url, job_id)) as response:
        arrivals = [time.monotonic() for event in events(response) if event.name == "job_state"]

    # The last one is final and may follow at once. One that arrives late is nearer to the next.
    gaps = [after - before for before, after in itertools.pairwise(arrivals[:-1])]
    assert len(gaps) >= 4
    assert statistics.mean(gaps) > 0.4


def test_failed_and_cancelled_jobs_end_with_their_reason(server, job_id):
    start(server, f"{job_id}-1:failed:30", f"{job_id}-2:cancelled:30")
    failed = watch(progress_url(server.url, f"{job_id}-1"))
    cancelled = watch(progress_url(server.url, f"{job_id}-2"))

    assert 50 < percentages(failed)[-1] < 100
    assert (failed[-1].name, failed[-1].data["code"]) == ("error", "failed")
    assert "upside down" in failed[-1].data["message"]
    assert 50 < percentages(cancelled)[-1] < 100
    assert (cancelled[-1].name, cancelled[-1].data["code"]) == ("error", "cancelled")


def test_unknown_job_gets_an_error_event_and_a_closed_stream(server):
    (only,) = watch(progress_url(server.url, "job_123"))

    assert only.name == "error"
    assert only.data == {
        "message": "Job not found: job_123",
        "job_id": "job_123",
        "code": "not_found",
    }


@pytest.mark.parametrize("job_id", ["a/b", "x\x00", "x" * 300, "..%2f", "line\nbreak", "😀"])
def test_hostile_id_is_an_unknown_job(server, job_id):
    (only,) = watch(progress_url(server.url, quote(job_id, safe="")))

    assert only.data["code"] == "not_found"


@pytest.mark.parametrize("path", ["%ff%fe", "%", "%c0%af", "%ed%a0%80"])
def test_bytes_that_are_no_text_do_not_break_the_server(server, path):
    with raw_stream(progress_url(server.url, path), "Connection: close") as connection:
        head = connection.recv(65536)

    assert head.split(b" ")[1] in {b"200", b"400", b"404"}


def test_headers_reach_the_client_as_the_contract_has_them(server, job_id):
    start(server, f"{job_id}:succeeded:30")
    with open_stream(progress_url(server.url, job_id), Origin="https://spa.example") as response:
        headers = response.headers

    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache"
    assert headers["X-Accel-Buffering"] == "no"
    assert headers.get_list("Access-Control-Allow-Origin") == ["*"]
    assert [value.lower() for value in headers.get_list("Connection")] == ["keep-alive"]


def test_client_with_the_final_state_gets_204(server, job_id):
    start(server, f"{job_id}:succeeded:1")
    last = [event for event in watch(progress_url(server.url, job_id)) if event.cursor][-1]

    again = httpx.get(
        progress_url(server.url, job_id), headers={"Last-Event-ID": last.cursor}, timeout=60
    )

    assert again.status_code == 204
    assert again.content == b""


def test_reconnecting_client_gets_only_what_moved(server, job_id):
    start(server, f"{job_id}:succeeded:60")
    url = progress_url(server.url, job_id)
    with open_stream(url) as response:
        first = next(events(response))
    with open_stream(url, **{"Last-Event-ID": first.cursor}) as response:
        second = next(events(response))

    assert second.cursor != first.cursor
    assert second.cursor.split("-")[0] == first.cursor.split("-")[0]


def test_request_behind_an_open_stream_is_answered_after_its_end(server, job_id):
    start(server, f"{job_id}:succeeded:10")
    with raw_stream(progress_url(server.url, job_id)) as connection:
        received = read_until(connection, b"\n\n")
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        while part := connection.recv(65536):
            received += part

    stream, answer = received.split(b"\r\n0\r\n\r\n", 1)
    body = b"".join(chunks_of(stream.partition(b"\r\n\r\n")[2] + b"\r\n"))
    assert body.count(b"event: pipeline_progress") >= 2
    assert body.endswith(b"event: complete\ndata: {}\n\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b'"alive"' in answer


@pytest.mark.parametrize("asked", [(), ("Connection: keep-alive",)], ids=["close", "keep-alive"])
def test_http_1_0_client_gets_a_body_that_ends_with_the_connection(server, job_id, asked):
    start(server, f"{job_id}:succeeded:10")
    with raw_stream(progress_url(server.url, job_id), *asked, version="1.0") as connection:
        received = b""
        while part := connection.recv(65536):
            received += part

    head, _, body = received.partition(b"\r\n\r\n")
    assert head.split()[1] == b"200"
    assert b"transfer-encoding" not in head.lower()
    assert re.match(rb"retry: \d+\nevent: pipeline_progress\n", body)
    assert body.count(b"event: pipeline_progress") >= 2
    assert body.endswith(b"event: complete\ndata: {}\n\n")


@pytest.mark.parametrize("path", ["/healthz", "/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_answers_to_http_1_0_end_where_their_length_says(server, method, path):
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(f"{method} {path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
        received = b""
        while part := connection.recv(65536):
            received += part

    head, _, body = received.partition(b"\r\n\r\n")
    assert head.split()[1] == b"200"
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    assert len(body) == (length if method == "GET" else 0)


def test_silent_stream_is_kept_alive(server, job_id):
    server.project.queue_job(job_id)
    with raw_stream(progress_url(server.url, job_id)) as connection:
        read_until(connection, b'"status":"queued"')
        started = time.monotonic()
        read_until(connection, b": keepalive\n\n")
        read_until(connection, b": keepalive\n\n")

    assert time.monotonic() - started > 1.5


@pytest.mark.parametrize("abruptly", [False, True], ids=["close", "reset"])
def test_disconnect_is_detected_at_once(server, job_id, abruptly):
    start(server, f"{job_id}:succeeded:60")
    logged_before = len(server.project.log.read_text())  # by other tests
    connection = raw_stream(progress_url(server.url, job_id))
    read_until(connection, b"pipeline_progress")
    if abruptly:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()

    record = wait_for_log(server.project, job_id, "sse_client_disconnected")

    assert record["client_ip"] == "127.0.0.1"
    events_logged = [record["event"] for record in app_logs(server.project, job_id)]
    assert events_logged == ["sse_stream_started", "sse_client_disconnected"]
    assert "Traceback" not in server.project.log.read_text()[logged_before:]


def test_old_stream_ends_with_a_retry_and_its_client_resumes(sqlite_project, job_id):
    live = sqlite_project.serve("uvicorn", **QUICK, MAX_STREAM_SECONDS="1")
    start(live, f"{job_id}:succeeded:60")
    url = progress_url(live.url, job_id)
    with open_stream(url) as response:
        text = response.read().decode()
    ids = re.findall(r"^id: (\S+)$", text, re.MULTILINE)
    with open_stream(url, **{"Last-Event-ID": ids[-1]}) as response:
        after = next(events(response))
    live.process.terminate()
    live.process.wait(30)

    assert len(ids) >= 2
    assert re.search(r"\n\nretry: \d+\n\Z", text)
    assert after.cursor not in ids
    assert wait_for_log(live.project, job_id, "sse_stream_rotated")


@pytest.fixture(scope="module", params=SERVERS)
def server_behind_middleware(
    request: pytest.FixtureRequest, sqlite_project: LiveProject
) -> Iterator[LiveServer]:
    """GZipMiddleware would compress each event by itself, and make several files of them;
    sync-only middleware ends with its request.
    """
    settings = "tests.support.settings_middleware"
    live = sqlite_project.serve(request.param, **QUICK, DJANGO_SETTINGS_MODULE=settings)
    yield live
    live.process.terminate()
    live.process.wait(30)


def test_client_that_accepts_gzip_reads_every_event(server_behind_middleware, job_id):
    start(server_behind_middleware, f"{job_id}:succeeded:30")
    url = progress_url(server_behind_middleware.url, job_id)
    with open_stream(url, **{"Accept-Encoding": "gzip, deflate, br"}) as response:
        seen, arrivals = [], []
        for event in events(response):
            seen.append(event)
            arrivals.append(time.monotonic())

    assert response.headers["Content-Encoding"] == "gzip"
    assert seen[-1].name == "complete"
    assert len(percentages(seen)) > 3
    assert arrivals[-1] - arrivals[0] > 1  # the job takes that long


@pytest.mark.parametrize("reader", [pytest.param("curl", marks=needs_curl), "node"])
def test_each_state_is_read_compressed_before_the_next_is_written(
    server_behind_middleware, job_id, reader
):
    project = server_behind_middleware.project
    project.ask(WRITE, job_id, "0")
    url = progress_url(server_behind_middleware.url, job_id)
    with subprocess.Popen([*READERS[reader], url], stdout=subprocess.PIPE, text=True) as process:
        assert "content-encoding: gzip" in head_of(process)
        for processed in range(PAGES + 1):
            read_up_to(process, processed)
            project.ask(WRITE, job_id, str(processed + 1))
        rest = process.stdout.read()

    assert rest.endswith("event: complete\ndata: {}\n\n")
    assert process.returncode == 0


def head_of(process: subprocess.Popen[str]) -> list[str]:
    return [line.strip().lower() for line in itertools.takewhile(str.strip, process.stdout)]


def read_up_to(process: subprocess.Popen[str], processed: int) -> None:
    """The states until so many pages are parsed; the one before may come twice."""
    found = -1
    while found != processed:
        line = process.stdout.readline()
        assert line, "the stream has ended"
        if '"stages":' in line:
            found = json.loads(line.removeprefix("data: "))["stages"]["parsing"]["processed"]
            assert found in {processed - 1, processed}


def test_feed_outlives_the_request_that_started_it(server_behind_middleware, job_id):
    start(server_behind_middleware, f"{job_id}:succeeded:40")
    url = progress_url(server_behind_middleware.url, job_id)
    with open_stream(url) as first:
        next(events(first))
        with open_stream(url) as second:
            stream = events(second)
            next(stream)
            first.close()
            last = list(stream)[-1]

    assert last.name == "complete"
