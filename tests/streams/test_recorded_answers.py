"""What is answered in place of a stream, or ends one early, byte for byte; see
`test_recorded_streams`.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

import httpx
import pytest

from tests.streams.test_limits_servers import LOG_IN, REMOVE_PERMISSION
from tests.support.live import LiveProject, LiveServer
from tests.support.recorder import ALL, API, JOB, STATE
from tests.support.scripted_jobs import COMPLETED, ENDED_AT, STARTED_AT

pytestmark = pytest.mark.once

SNAPSHOT = API + "/jobs/report-1/snapshot"
SPA = "https://spa.example"
TOO_MANY_MS = (45_000, 75_000)
AFTER_AWAY_MS = (2000, 10_000)


@pytest.fixture(scope="module")
def closed_server(recorded_project: LiveProject) -> LiveServer:
    """One stream for each user, whose permission is asked about again soon."""
    return recorded_project.serve(
        "uvicorn",
        PUBLIC="false",
        CORS_ORIGINS=SPA,
        RECHECK_SECONDS="0.3",
        MAX_STREAMS_PER_USER="1",
    )


def token_for(server: LiveServer, *job_ids: str, minutes: float = 5) -> str:
    wanted = {"jobs": list(job_ids), "minutes": minutes}
    answer = httpx.post(f"{server.url}{API}/stream-tokens", json=wanted).raise_for_status()
    return str(answer.json()["token"])


def session_of(project: LiveProject, name: str) -> str:
    """The cookie of a new user who may see jobs."""
    return f"sessionid={project.ask(LOG_IN, name)}"


# Open to everybody


def test_head_and_options(recorded_server, jobs, recording):
    jobs.queue("report-1")
    preflight = {
        "method": "OPTIONS",
        "origin": SPA,
        "access_control_request_method": "GET",
        "access_control_request_headers": "last-event-id",
    }
    for path in (JOB, ALL):
        recording.get(recorded_server, path, method="HEAD")
        recording.get(recorded_server, path, method="HEAD", accept_encoding="gzip", origin=SPA)
        recording.get(recorded_server, path, method="HEAD", version="1.0")
        recording.get(recorded_server, path, method="OPTIONS")
        recording.get(recorded_server, path, **preflight)

    recording.compare()


def test_other_methods_and_bad_requests(recorded_server, jobs, recording):
    for path in (JOB, ALL):
        recording.get(recorded_server, path, method="POST", content_length="0")
        recording.get(recorded_server, path, method="DELETE")
    for query in ("until=never", "jobs=", "jobs=,", "jobs=a&batch=b"):
        recording.get(recorded_server, f"{ALL}?{query}")
    many = ",".join(str(number) for number in range(201))
    recording.get(recorded_server, f"{ALL}?jobs={many}", origin=SPA)
    recording.get(recorded_server, f"{ALL}?until=never", method="HEAD")
    recording.get(recorded_server, f"{ALL}?until=never", method="OPTIONS")

    recording.compare()


def test_accepted_encodings(recorded_server, jobs, recording):
    for accepted in ("", "gzip;q=0", "gzip; q=0.0", "br", "br, GZIP ; q=0.5", "*"):
        recording.get(recorded_server, JOB, accept_encoding=accepted)

    recording.compare()


def test_stream_for_another_origin(recorded_server, jobs, recording):
    recording.get(recorded_server, JOB, origin=SPA)
    recording.get(recorded_server, f"{ALL}?until=idle", origin=SPA)

    recording.compare()


def test_state_as_json(recorded_server, jobs, recording):
    recording.get(recorded_server, SNAPSHOT)
    jobs.create(
        id="report-1",
        document_name="report.pdf",
        status="succeeded",
        epoch="0123456789ab",
        revision=17,
        started_at=STARTED_AT,
        finished_at=ENDED_AT,
        updated_at=ENDED_AT,
        stages=[{"name": "parsing", "weight": 1, "processed": 3, "total": 3, **COMPLETED}],
    )
    etag = 'W/"0123456789ab-17-1767323106789"'
    for more in (
        {},
        {"if_none_match": etag},
        {"if_none_match": etag.removeprefix("W/"), "origin": SPA},
        {"if_none_match": 'W/"other"'},
        {"accept_encoding": "gzip", "origin": SPA},
        {"method": "HEAD"},
        {"method": "OPTIONS", "origin": SPA, "access_control_request_method": "GET"},
        {"method": "POST", "content_length": "0"},
    ):
        recording.get(recorded_server, SNAPSHOT, **more)

    recording.compare(is_exact=True)


# Not open


def test_refused_requests(closed_server, recorded_server, jobs, recording):
    project = closed_server.project
    session = session_of(project, "dismissed")
    project.ask(REMOVE_PERMISSION, "dismissed")
    token = token_for(recorded_server, "report-2")
    for path in (JOB, ALL, f"{ALL}?jobs=report-2,report-1", SNAPSHOT):
        recording.get(closed_server, path)
        recording.get(closed_server, path, origin=SPA, accept_encoding="gzip")
        recording.get(closed_server, path, authorization="Bearer malformed")
        recording.get(closed_server, path, authorization=f"Bearer {token}", origin=SPA)
        recording.get(closed_server, path, cookie=session)
    recording.get(closed_server, f"{JOB}?token={token}", origin="https://other.example")
    recording.get(closed_server, JOB, method="HEAD")
    recording.get(closed_server, JOB, method="OPTIONS", origin=SPA)
    recording.get(closed_server, JOB, method="OPTIONS", origin="https://other.example")

    recording.compare()


def test_stream_by_token(closed_server, recorded_server, jobs, recording):
    jobs.start("report-1", stages=["parsing"])
    jobs.leave("report-1")
    token = token_for(recorded_server, "report-1")
    recording.get(closed_server, f"{JOB}?token={token}", origin=SPA)
    recording.get(closed_server, JOB, authorization=f"Bearer {token}", method="HEAD")
    path = f"{ALL}?jobs=report-1&until=idle"
    recording.get(closed_server, path, authorization=f"Bearer {token}", accept_encoding="gzip")

    recording.compare()


def test_token_that_expires(closed_server, recorded_server, jobs, recording):
    jobs.queue("report-1", stages=["parsing"])
    token = token_for(recorded_server, "report-1", minutes=0.01)
    expires_at = time.time() + 2
    with ExitStack() as stack:
        streams = [
            stack.enter_context(recording.ask(closed_server, path, authorization=f"Bearer {token}"))
            for path in (JOB, f"{ALL}?jobs=report-1")
        ]
        for stream in streams:
            stream.read_until(STATE)
        for stream in streams:
            stream.read_to_end()
    time.sleep(max(0, expires_at - time.time()))
    recording.get(closed_server, JOB, authorization=f"Bearer {token}")

    recording.compare()


def test_right_that_is_withdrawn(closed_server, jobs, recording):
    jobs.queue("report-1", stages=["parsing"])
    session = session_of(closed_server.project, "trusted")
    with recording.ask(closed_server, JOB, cookie=session, accept_encoding="gzip") as stream:
        stream.read_until(STATE)
        closed_server.project.ask(REMOVE_PERMISSION, "trusted")
        stream.read_to_end()

    recording.compare()


def test_too_many_streams(closed_server, jobs, recording):
    jobs.queue("report-1", stages=["parsing"])
    session = session_of(closed_server.project, "busy")
    with recording.ask(closed_server, JOB, cookie=session) as stream:
        stream.read_until(STATE)
        recording.get(closed_server, JOB, cookie=session)
        recording.get(closed_server, ALL, cookie=session, accept_encoding="gzip")
        recording.get(closed_server, JOB, cookie=session, method="HEAD")

    recording.compare(retries=[(1000, 5000), TOO_MANY_MS, TOO_MANY_MS])


def test_database_is_away(recorded_project, recording):
    nowhere = recorded_project.folder / "nowhere" / "progress.sqlite3"
    away = recorded_project.serve("uvicorn", PUBLIC="false", DATABASE_URL=f"sqlite:///{nowhere}")
    for path in (JOB, ALL):
        recording.get(away, path, cookie="sessionid=" + "x" * 32, accept_encoding="gzip")
        recording.get(away, path, cookie="sessionid=" + "x" * 32, method="HEAD")
    recording.get(away, SNAPSHOT, cookie="sessionid=" + "x" * 32)

    recording.compare(retries=[AFTER_AWAY_MS] * 2)
