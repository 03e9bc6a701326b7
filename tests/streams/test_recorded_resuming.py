"""How streams resume, and how those end whose jobs go on, byte for byte; see
`test_recorded_streams`.
"""

from __future__ import annotations

import signal

import pytest

from tests.support.recorder import ALL, JOB, KEEPALIVE, STATE

pytestmark = pytest.mark.once

AFTER_CUT_MS = (1000, 5000)
AFTER_AGE_MS = (200, 1000)
AFTER_DRAIN_MS = (500, 5000)


def test_resuming_one_job(recorded_server, jobs, recording):
    jobs.start("report-1", stages=["parsing"])
    with recording.ask(recorded_server, JOB) as stream:
        stream.read_until(STATE)
    old = stream.last_id
    # It has the state, and gets the next one.
    with recording.ask(recorded_server, JOB, last_event_id=old) as stream:
        stream.read_until(KEEPALIVE)
        jobs.write("report-1", total_chunks=3)
        stream.read_until(STATE)
    for stale in (old, "malformed", "x" * 3000, "ffffffffffff-1-1767323045678"):
        with recording.ask(recorded_server, JOB, last_event_id=stale) as stream:
            stream.read_until(STATE)
    with recording.ask(recorded_server, f"{JOB}?last_event_id={stream.last_id}") as stream:
        stream.read_until(KEEPALIVE)

    recording.compare()


def test_resuming_after_a_job_began_again(recorded_server, jobs, recording):
    jobs.start("report-1", stages=["parsing"])
    with recording.ask(recorded_server, JOB) as stream:
        stream.read_until(STATE)
        jobs.leave("report-1", "ValueError", "no")
        stream.read_to_end()
    old = stream.last_id
    recording.get(recorded_server, JOB, last_event_id=old)
    jobs.start("report-1", restart=True)
    with recording.ask(recorded_server, JOB, last_event_id=old) as stream:
        stream.read_until(STATE)
        jobs.leave("report-1")
        stream.read_to_end()

    recording.compare()


def test_client_that_has_the_end(recorded_server, jobs, recording):
    jobs.start("report-1", stages=["parsing"])
    jobs.leave("report-1")
    stream = recording.get(recorded_server, JOB)
    recording.get(recorded_server, JOB, last_event_id=stream.last_id)
    recording.get(recorded_server, f"{JOB}?last_event_id={stream.last_id}", accept_encoding="gzip")
    recording.get(recorded_server, JOB, version="1.0", last_event_id=stream.last_id)

    recording.compare()


def test_resuming_all_jobs(recorded_server, jobs, recording):
    jobs.queue("report-1", stages=["parsing"])
    jobs.queue("report-2", stages=["parsing"])
    jobs.queue("report-3", stages=["parsing"])
    jobs.call("request_cancellation", "report-2")
    with recording.ask(recorded_server, f"{ALL}?jobs=report-2") as stream:
        stream.read_until(STATE)
    before = stream.last_id
    jobs.call("request_cancellation", "report-1")
    for cursor in (before, "malformed", "9999999999999"):
        with recording.ask(recorded_server, ALL, last_event_id=cursor) as stream:
            stream.read_until(STATE, 3)
    with recording.ask(
        recorded_server, f"{ALL}?last_event_id={before}", accept_encoding="gzip"
    ) as stream:
        stream.read_until(STATE, 3)
    jobs.call("request_cancellation", "report-3")
    recording.get(recorded_server, f"{ALL}?until=idle", last_event_id=before)

    recording.compare()


# How long a stream lives


def test_silence(recorded_project, jobs, recording):
    server = recorded_project.serve("uvicorn", KEEPALIVE_SECONDS="0.2")
    jobs.queue("report-1")
    for path in (JOB, ALL, f"{ALL}?jobs=report-1"):
        with recording.ask(server, path) as stream:
            stream.read_until(KEEPALIVE, 2)
    with recording.ask(server, JOB, accept_encoding="gzip") as stream:
        stream.read_until(KEEPALIVE, 2)

    recording.compare()


def test_stream_that_is_rotated(recorded_project, jobs, recording):
    server = recorded_project.serve("uvicorn", MAX_STREAM_SECONDS="0.2")
    jobs.queue("report-1")
    recording.get(server, JOB)
    recording.get(server, ALL, accept_encoding="gzip")

    recording.compare(retries=[AFTER_CUT_MS, AFTER_AGE_MS] * 2)


def test_server_that_stops(recorded_project, jobs, recording):
    server = recorded_project.serve("uvicorn")
    jobs.queue("report-1")
    with recording.ask(server, JOB) as one, recording.ask(server, ALL) as many:
        one.read_until(STATE)
        many.read_until(STATE)
        server.process.send_signal(signal.SIGTERM)
        one.read_to_end()
        many.read_to_end()

    recording.compare(retries=[AFTER_CUT_MS, AFTER_DRAIN_MS] * 2)


def test_client_of_http_1_0(recorded_server, jobs, recording):
    jobs.start("report-1", stages=["parsing"])
    with recording.ask(recorded_server, JOB, version="1.0") as stream:
        stream.read_until(STATE)
        jobs.leave("report-1")
        stream.read_to_end()

    recording.compare()
