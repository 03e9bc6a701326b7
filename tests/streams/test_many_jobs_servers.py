"""Streams of many jobs as clients get them: real servers, and writers in processes of their own."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.support.event_streams import Event, events, open_stream, watch
from tests.support.live import SERVERS, LiveProject, LiveServer

pytestmark = pytest.mark.once

WRITE = """
    import sys
    from ingestion_progress.tracker import queue_job, track
    for name in sys.argv[1:]:
        action, job_id = name.split(":")
        if action == "queue":
            queue_job("report.pdf", job_id=job_id)
        else:
            with track("report.pdf", job_id=job_id, stages=["parsing"]) as job:
                with job.stage("parsing", total=2) as stage:
                    stage.advance(2)
"""
CANCEL = """
    import sys
    from ingestion_progress.tracker import request_cancellation
    for job_id in sys.argv[1:]:
        request_cancellation(job_id)
"""
PATH = "/api/v1/admin/ingestion/progress"


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, sqlite_project: LiveProject) -> Iterator[LiveServer]:
    live = sqlite_project.serve(request.param, LOG_FORMAT="json")
    yield live
    live.process.terminate()
    live.process.wait(30)


def run(live: LiveServer, source: str, *args: str) -> None:
    live.project.ask(source, *args)


def about(seen: Iterator[Event], *job_ids: str) -> Iterator[Event]:
    """The events of these jobs; other tests share the database."""
    return (event for event in seen if event.data.get("job_id") in job_ids)


def test_one_connection_gets_jobs_that_begin_and_end(server):
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    run(server, WRITE, f"queue:{first}")
    with open_stream(server.url + PATH) as response:
        seen = about(events(response), first, second)
        assert next(seen).data["job_id"] == first
        assert next(seen).data["reason"] == "queued"
        assert next(seen).data["status"] == "queued"
        run(server, WRITE, f"track:{second}")
        while (event := next(seen)).name != "complete":
            assert event.name in {"pipeline_progress", "forecast", "job_state"}
        run(server, CANCEL, first)
        *_, last = (next(seen) for _ in range(3))

    assert event.data == {"job_id": second}
    assert (last.name, last.data["code"], last.data["job_id"]) == ("error", "cancelled", first)
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"


def test_stream_of_named_jobs_until_idle_ends_with_them(server):
    job_ids = [uuid.uuid4().hex for _ in range(3)]
    run(server, WRITE, *(f"track:{job_id}" for job_id in job_ids))
    url = f"{server.url}{PATH}?jobs={','.join([*job_ids, 'nobody'])}&until=idle"
    seen = watch(url)

    assert {event.data["job_id"] for event in seen if event.name == "complete"} == set(job_ids)
    (missing,) = [event for event in seen if event.name == "error"]
    assert (missing.data["code"], missing.data["job_id"]) == ("not_found", "nobody")
    assert (seen[-1].name, seen[-1].data) == ("idle", {})
    again = httpx.get(url, headers={"Last-Event-ID": seen[-1].cursor}, timeout=20)
    assert again.status_code == 204


def test_client_of_a_process_that_stops_misses_no_end_in_another(sqlite_project):
    leaving, staying = (sqlite_project.serve("uvicorn", LOG_FORMAT="json") for _ in range(2))
    ends, begins_and_ends = uuid.uuid4().hex, uuid.uuid4().hex
    run(leaving, WRITE, f"queue:{ends}")
    with open_stream(leaving.url + PATH) as response:
        received = response.iter_bytes()
        body = next(received)
        leaving.process.terminate()
        body += b"".join(received)
    last_id = re.findall(rb"^id: (\S+)$", body, re.MULTILINE)[-1].decode()
    run(staying, CANCEL, ends)
    run(staying, WRITE, f"track:{begins_and_ends}")
    last = {}
    with open_stream(staying.url + PATH, **{"Last-Event-ID": last_id}) as response:
        seen = about(events(response), ends, begins_and_ends)
        while not {"error", "complete"} <= set(last):
            event = next(seen)
            last[event.name] = event.data["job_id"]
    staying.process.terminate()
    staying.process.wait(30)

    assert re.search(rb"\n\nretry: \d+\n\Z", body)
    assert last["error"] == ends
    assert last["complete"] == begins_and_ends
