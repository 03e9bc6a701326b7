"""What streams send of a job with several attempts, byte for byte; see `test_recorded_streams`.

No `error` ends a stream, and none is sent, while another attempt is due.
"""

from __future__ import annotations

import pytest

from tests.support.raw_http import Exchange
from tests.support.recorder import ALL, JOB, STATE
from tests.support.scripted_jobs import RUNNING, STARTED_AT, ScriptedJobs

pytestmark = pytest.mark.once

NEXT_ATTEMPT = b"\nevent: next_attempt\n"


def rescue_and_finish(jobs: ScriptedJobs, stream: Exchange) -> None:
    """The stream has sent the state of a lost job."""
    jobs.rescue()
    stream.read_until(NEXT_ATTEMPT)
    jobs.start("report-1", stages=["parsing"])
    stream.read_until(STATE, 3)
    parsing = RUNNING | {"total": 8, "processed": 3, "in_flight": 1}
    jobs.write("report-1", stages={"parsing": parsing}, started_at=STARTED_AT)
    stream.read_until(STATE, 4)
    jobs.leave("report-1")


def test_job_that_is_lost_and_rescued_and_succeeds(recorded_server, jobs, recording):
    jobs.lose("report-1", stages=["parsing"], task="shop.tasks.ingest")
    with recording.ask(recorded_server, JOB) as stream:
        stream.read_until(STATE)
        rescue_and_finish(jobs, stream)
        stream.read_to_end()

    assert b"event: error" not in stream.body
    recording.compare()


def test_all_jobs_while_one_is_lost_and_rescued_and_succeeds(recorded_server, jobs, recording):
    jobs.lose("report-1", stages=["parsing"], task="shop.tasks.ingest")
    with recording.ask(recorded_server, ALL) as stream:
        stream.read_until(STATE)
        rescue_and_finish(jobs, stream)
        stream.read_until(b"\nevent: complete\n")

    assert b"event: error" not in stream.body
    recording.compare()


def test_job_that_a_person_retries_after_its_failure(recorded_server, jobs, recording):
    jobs.queue("report-1", stages=["parsing"], task="shop.tasks.ingest")
    jobs.call("fail_job", "report-1", "The disk is full.")
    with recording.ask(recorded_server, ALL + "?jobs=report-1") as stream:
        stream.read_until(b"\nevent: error\n")
        jobs.retry("report-1")
        stream.read_until(NEXT_ATTEMPT)
        jobs.start("report-1")
        stream.read_until(STATE, 3)
        jobs.leave("report-1")
        stream.read_until(b"\nevent: complete\n")

    recording.compare()
