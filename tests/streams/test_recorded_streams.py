"""What streams send, byte for byte, beside what they sent when it was recorded: one job.

Each test is a scenario on uvicorn, and compares with the file of its name in `recordings/`.
To change the wire on purpose, record again and read the diff:

    RECORD=1 pytest tests/streams/test_recorded_*.py
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.raw_http import Exchange
from tests.support.recorder import ALL, API, JOB, STATE
from tests.support.scripted_jobs import COMPLETED, ENDED_AT, RUNNING, STARTED_AT, ScriptedJobs

pytestmark = pytest.mark.once


def run_to_success(jobs: ScriptedJobs, stream: Exchange) -> None:
    """All that a job may report; the stream gets each step before the next."""
    stream.read_until(STATE)
    jobs.start(
        "report-1", document_id="doc-1", stages={"parsing": 1, "vlm": 1, "chunking": 2}, workers=2
    )
    stream.read_until(STATE, 2)
    jobs.write(
        "report-1",
        stages={"parsing": RUNNING | {"total": 3, "processed": 1, "in_flight": 2}},
        workers={1: {"status": "processing", "current_chunk": "page 2", "progress_percent": 33.37}},
        started_at=STARTED_AT,
        total_chunks=32,
        total_images=5,
        queue_depth=7,
    )
    stream.read_until(STATE, 3)
    jobs.write(
        "report-1",
        stages={
            "parsing": COMPLETED | {"total": 3, "processed": 3, "in_flight": 0},
            "vlm": {"status": "skipped"},
            "chunking": RUNNING | {"processed": 5},
        },
        workers={
            1: {"status": "idle", "current_chunk": "", "progress_percent": 0},
            2: {"status": "error", "current_chunk": "Größe “2” < 3 & 🙂"},
        },
        entities_total=12,
        relations_total=8,
        neo4j_writes=20,
        qdrant_writes=2**40,
        error_count=1,
        counters={"pages_with_tables": 4},
    )
    stream.read_until(STATE, 4)
    jobs.leave("report-1")
    stream.read_to_end()


def test_job_from_queued_to_success(recorded_server, jobs, recording):
    jobs.queue("report-1")
    with recording.ask(recorded_server, JOB) as stream:
        run_to_success(jobs, stream)

    recording.compare()


def test_job_from_queued_to_success_as_gzip(recorded_server, jobs, recording):
    jobs.queue("report-1")
    with recording.ask(recorded_server, JOB, accept_encoding="gzip, deflate, br") as stream:
        run_to_success(jobs, stream)

    recording.compare()


def test_job_with_the_usual_stages(recorded_server, jobs, recording):
    jobs.start("report-1")
    with recording.ask(recorded_server, JOB) as stream:
        stream.read_until(STATE)

    recording.compare()


def test_ended_job_exactly(recorded_server, jobs, recording):
    stages = [
        {"name": "parsing", "weight": 10, "processed": 3, "total": 3, **COMPLETED},
        {"name": "vlm", "weight": 15, "status": "skipped"},
        {"name": "embedding", "processed": 7, "weight": 2.5, **COMPLETED},
    ]
    jobs.create(
        id="report-1",
        document_id="doc-1",
        document_name='a "quoted" name.pdf',
        status="succeeded",
        epoch="0123456789ab",
        revision=17,
        attempt=3,
        pool_size=1,
        counters={"b": 1, "a": 2},
        started_at=STARTED_AT,
        finished_at=ENDED_AT,
        updated_at=ENDED_AT,
        stages=stages,
        workers=[{}],
    )
    recording.get(recorded_server, JOB)
    recording.get(recorded_server, f"{ALL}?jobs=report-1&until=idle")
    recording.get(recorded_server, f"{API}/jobs/report-1/snapshot")

    recording.compare(is_exact=True)


def test_failed_job(recorded_server, jobs, recording):
    jobs.start("report-1", stages=["parsing", "chunking"])
    with recording.ask(recorded_server, JOB) as stream:
        stream.read_until(STATE)
        parsing = RUNNING | {"total": 8, "processed": 3, "in_flight": 1}
        jobs.write("report-1", stages={"parsing": parsing}, started_at=STARTED_AT)
        stream.read_until(STATE, 2)
        jobs.leave("report-1", "ValueError", "the 4th page is upside down")
        stream.read_to_end()

    recording.compare()


def test_cancelled_job(recorded_server, jobs, recording):
    jobs.start("report-1", stages=["parsing"])
    with recording.ask(recorded_server, JOB) as stream:
        stream.read_until(STATE)
        jobs.call("request_cancellation", "report-1")
        stream.read_until(STATE, 2)
        jobs.leave("report-1", "JobCancelled", "report-1")
        stream.read_to_end()

    recording.compare()


def test_job_that_is_cancelled_while_it_waits(recorded_server, jobs, recording):
    jobs.queue("report-1")
    with recording.ask(recorded_server, JOB) as stream:
        stream.read_until(STATE)
        jobs.call("request_cancellation", "report-1")
        stream.read_to_end()

    recording.compare()


def test_job_that_starves_stalls_and_is_lost(recorded_server, jobs, recording):
    now = datetime.now(UTC)
    long_ago = str(now - timedelta(hours=1))
    jobs.queue("report-1", stages=["parsing"])
    with recording.ask(recorded_server, JOB) as stream:
        stream.read_until(STATE)
        jobs.write("report-1", created_at=long_ago)
        stream.read_until(STATE, 2)
        jobs.write("report-1", status="running", started_at=long_ago)
        stream.read_until(STATE, 3)
        jobs.write("report-1", updated_at=long_ago)
        stream.read_until(STATE, 4)
        jobs.write("report-1", heartbeat_at=long_ago)
        stream.read_until(STATE, 5)
        jobs.rescue()
        stream.read_to_end()

    recording.compare()


def test_job_that_does_not_exist(recorded_server, jobs, recording):
    recording.get(recorded_server, JOB)
    recording.get(recorded_server, JOB, accept_encoding="gzip")
    recording.get(recorded_server, f"{API}/jobs/Gr%C3%B6%C3%9Fe%20%22%3C/progress")
    recording.get(recorded_server, f"{API}/jobs/{'x' * 300}/progress")

    recording.compare()


def test_job_that_is_deleted(recorded_server, jobs, recording):
    jobs.queue("report-1")
    with recording.ask(recorded_server, JOB) as stream:
        stream.read_until(STATE)
        jobs.call("delete_job", "report-1")
        stream.read_to_end()

    recording.compare()
