"""What streams of many jobs send, byte for byte; see `test_recorded_streams`."""

from __future__ import annotations

import pytest

from tests.support.recorder import ALL, KEEPALIVE, STATE
from tests.support.scripted_jobs import RUNNING, STARTED_AT

pytestmark = pytest.mark.once


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
def test_all_jobs(recorded_server, jobs, recording, accepted):
    jobs.start("old")
    jobs.leave("old")
    jobs.queue("report-1", stages=["parsing"])
    with recording.ask(recorded_server, ALL, accept_encoding=accepted) as stream:
        stream.read_until(STATE)
        jobs.start("report-2", stages=["parsing"], workers=1)
        stream.read_until(STATE, 2)
        parsing = RUNNING | {"total": 8, "processed": 3, "in_flight": 1}
        jobs.write("report-2", stages={"parsing": parsing}, started_at=STARTED_AT)
        stream.read_until(STATE, 3)
        jobs.leave("report-2")
        stream.read_until(STATE, 4)
        jobs.start("report-1")
        stream.read_until(STATE, 5)
        jobs.leave("report-1", "ValueError", "the 4th page is upside down")
        stream.read_until(STATE, 6)
        jobs.start("report-1", restart=True)
        stream.read_until(STATE, 7)
        jobs.call("request_cancellation", "report-1")
        stream.read_until(STATE, 8)
        jobs.forget()
        stream.read_until(b"not_found")

    recording.compare()


def test_no_jobs(recorded_server, jobs, recording):
    with recording.ask(recorded_server, ALL) as stream:
        stream.read_until(KEEPALIVE)
    with recording.ask(recorded_server, f"{ALL}?batch=monday") as stream:
        stream.read_until(KEEPALIVE)
    recording.get(recorded_server, f"{ALL}?until=idle")
    recording.get(recorded_server, f"{ALL}?until=idle", accept_encoding="gzip")

    recording.compare()


def test_named_jobs(recorded_server, jobs, recording):
    jobs.queue("report-1", stages=["parsing"])
    jobs.queue("report-3", stages=["parsing"])
    with recording.ask(recorded_server, f"{ALL}?jobs=report-1,nobody,,report-1,..") as stream:
        stream.read_until(STATE)
        stream.read_until(b"not_found", 2)
        jobs.call("request_cancellation", "report-3")
        jobs.start("report-1")
        stream.read_until(STATE, 2)
        jobs.leave("report-1", "ValueError", "no")
        stream.read_until(STATE, 3)
        jobs.start("report-1", restart=True)
        stream.read_until(STATE, 4)
        jobs.leave("report-1")
        stream.read_until(STATE, 5)

    recording.compare()


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
def test_named_jobs_until_idle(recorded_server, jobs, recording, accepted):
    jobs.queue("report-1", stages=["parsing"])
    jobs.queue("report-2", stages=["parsing"])
    jobs.call("request_cancellation", "report-2")
    path = f"{ALL}?jobs=report-1,report-2,nobody&until=idle"
    with recording.ask(recorded_server, path, accept_encoding=accepted) as stream:
        stream.read_until(STATE, 2)
        jobs.start("report-1")
        stream.read_until(STATE, 3)
        jobs.leave("report-1")
        stream.read_to_end()
    recording.get(recorded_server, path, last_event_id=stream.last_id)
    recording.get(recorded_server, path, last_event_id="idle-0123456789abcdef01234567")

    recording.compare()


def test_batch_until_idle(recorded_server, jobs, recording):
    path = f"{ALL}?batch=monday&until=idle"
    jobs.queue("report-1", batch="monday", stages=["parsing"])
    jobs.queue("report-2", batch="tuesday", stages=["parsing"])
    with recording.ask(recorded_server, path) as stream:
        stream.read_until(STATE)
        jobs.start("report-2")
        jobs.start("report-1")
        stream.read_until(STATE, 2)
        jobs.start("report-3", batch="monday", stages=["parsing"])
        stream.read_until(STATE, 3)
        jobs.leave("report-1")
        stream.read_until(STATE, 4)
        jobs.leave("report-3", "ValueError", "no")
        stream.read_to_end()
    recording.get(recorded_server, path)
    recording.get(recorded_server, path, last_event_id="malformed")
    jobs.leave("report-2")

    recording.compare()
