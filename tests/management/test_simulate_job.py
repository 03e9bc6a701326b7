from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from ingestion_progress.exceptions import JobCancelled
from ingestion_progress.management import simulation
from ingestion_progress.management.schedule import stages_of
from ingestion_progress.management.simulation import SimulatedFailure, SimulatedJob, Simulation
from ingestion_progress.models import Job, Stage, Worker
from ingestion_progress.models.statuses import JobStatus, StageStatus, WorkerStatus
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import queue_job, request_cancellation, track
from ingestion_progress.wire.snapshots import load_snapshot
from tests.support.live import ROOT, LiveProject
from tests.support.simulated import process_of, simulated, states

pytestmark = pytest.mark.once


@pytest.fixture
def tracking(db) -> Iterator[None]:
    """Trackers write at once, into the test's own transaction."""
    with synchronous_tracking():
        yield


STATE = """
    import json, sys
    from django.utils import timezone
    from ingestion_progress.wire.snapshots import load_snapshot
    snapshot = load_snapshot(sys.argv[1])
    state = snapshot.progress(timezone.now()).model_dump(mode="json")
    print(json.dumps([snapshot.job.is_finished, state]))
"""
SECONDS = 6


@pytest.fixture(scope="module")
def history(project: LiveProject) -> list[dict]:
    """The states of a detached job ten times a second, until its end."""
    command = ("simulate_job", f"--seconds={SECONDS}", "--workers=3")
    job_id = project.manage(*command).splitlines()[-1]
    seen, is_over = [], False
    deadline = time.monotonic() + 60
    while not is_over:
        assert time.monotonic() < deadline, seen[-1:]
        is_over, state = project.ask(STATE, job_id)
        seen.append(state)
        time.sleep(0.1)
    return seen


# In a process of its own


@pytest.mark.database
def test_detached_job_outlives_the_command_and_takes_its_time(history: list[dict]) -> None:
    percents = [state["overall_progress_percent"] for state in history]
    assert len(percents) > 3
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert SECONDS <= history[-1]["timing"]["elapsed_ms"] / 1000 < 2 * SECONDS


@pytest.mark.database
def test_numbers_of_a_detached_job_add_up(history: list[dict]) -> None:
    end = history[-1]
    for stage in end["stages"].values():
        assert stage["processed"] == stage["total"] > 0
        assert stage["in_flight"] == 0
    metrics = end["metrics"]
    assert metrics["neo4j_writes"] == metrics["entities_total"] + metrics["relations_total"]
    assert metrics["qdrant_writes"] == end["total_chunks"]


@pytest.mark.database
def test_workers_and_queue_are_alive_while_it_runs(history: list[dict]) -> None:
    pools = [state["worker_pool"] for state in history]
    assert max(pool["active"] for pool in pools) == 3
    assert max(pool["queue_depth"] for pool in pools) > 0
    assert len({worker["current_chunk"] for pool in pools for worker in pool["workers"]}) > 4
    assert pools[-1]["active"] == pools[-1]["queue_depth"] == 0


def test_it_starts_under_overridden_settings_too(sqlite_project: LiveProject) -> None:
    source = """
        import io, sys
        from django.core.management import call_command
        from django.test import override_settings
        given = ["--seconds=0.1", f"--job-id={sys.argv[1]}"]
        with override_settings(LANGUAGE_CODE="de"):
            call_command("simulate_job", *given, stdout=io.StringIO())
    """
    job_id = uuid.uuid4().hex
    sqlite_project.ask(source, job_id)
    sqlite_project.wait_for_job(job_id)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_simulation_runs_in_a_new_session(sqlite_project: LiveProject) -> None:
    with simulated(sqlite_project) as job_id:
        pid = process_of(job_id)
        assert os.getsid(pid) == pid
        for number in range(3):  # no terminal and no pipe keeps it, or waits for it
            assert Path(f"/proc/{pid}/fd/{number}").readlink() == Path("/dev/null")


@pytest.mark.database
def test_cancelled_simulation_stops_promptly(project: LiveProject) -> None:
    cancel = (
        "import sys; from ingestion_progress.tracker import request_cancellation\n"
        "request_cancellation(sys.argv[1])"
    )
    asked_at = 0.0
    with simulated(project) as job_id:
        for state in states(project, job_id):
            if state["overall_progress_percent"] > 0 and not asked_at:
                project.ask(cancel, job_id)
                asked_at = time.time()
        timing = state["timing"]
        assert timing["started_at"] + timing["elapsed_ms"] / 1000 - asked_at < 15
        assert all(worker["status"] == "idle" for worker in state["worker_pool"]["workers"])


def test_interrupted_in_the_foreground_it_cancels_its_job(sqlite_project: LiveProject) -> None:
    command = [sys.executable, "manage.py", "simulate_job", "--foreground", "--seconds=60"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=sqlite_project.env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        job_id = process.stdout.readline().strip()
        for state in states(sqlite_project, job_id):
            if state["overall_progress_percent"] > 0:
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == f"CommandError: Job {job_id} was cancelled.\n"


# What it is told to do


def test_any_stages_run_through_and_add_up(tracking) -> None:
    Simulation(seconds=0.2, stages=["crawl", "ocr", "summary"], workers=2).run("custom")
    job = Job.objects.get()
    assert job.status == JobStatus.SUCCEEDED
    stages = Stage.objects.order_by("position")
    assert [stage.name for stage in stages] == ["crawl", "ocr", "summary"]
    assert all(s.status == StageStatus.COMPLETED and s.processed == s.total for s in stages)
    assert not Worker.objects.exclude(status=WorkerStatus.IDLE).exists()


@pytest.mark.parametrize("percent", [0, 40, 99.5])
def test_fails_at_about_the_given_percentage_with_a_reason(
    tracking, monkeypatch, percent: float
) -> None:
    clock = itertools.count(step=simulation.TICK_SECONDS)
    even = SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda seconds: None)
    monkeypatch.setattr(simulation, "time", even)
    with pytest.raises(SimulatedFailure):
        Simulation(seconds=5, fail_at_percent=percent).run("failing")
    snapshot = load_snapshot("failing")
    assert snapshot.job.status == JobStatus.FAILED
    assert snapshot.job.error == f"Simulated failure at {percent} %, as requested."
    assert percent - 0.2 <= snapshot.overall_percent <= percent + 5


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_hold_what_is_in_flight_at_every_moment(tracking, workers: int) -> None:
    stages = stages_of(None, seconds=20, workers=workers)
    items_of_first: list[tuple[str, str]] = []
    with track("a.pdf", job_id="moments", workers=workers) as job:
        simulated = SimulatedJob(job, stages, workers)
        for step in range(60):
            simulated.show(step / 60)
            progress = load_snapshot("moments").progress(timezone.now())
            pool = progress.worker_pool
            busy = [worker for worker in pool.workers if worker.status == "processing"]
            *_, last = [each for each in progress.stages.values() if each.status == "in_progress"]
            assert len(busy) == (last.in_flight if workers else 0)
            assert all(1 <= worker.id <= workers for worker in busy)
            assert pool.queue_depth >= 0
            assert last.in_flight + last.processed + pool.queue_depth <= last.total
            items_of_first += [(last.name, each.current_chunk) for each in busy if each.id == 1]
        simulated.show(1.0)
    changes = [item for item, _ in itertools.groupby(items_of_first)]
    assert len(changes) == len(set(changes))  # a worker stays on its item until that is done
    assert len(changes) > 4 or not workers
    assert load_snapshot("moments").progress(timezone.now()).worker_pool.queue_depth == 0


def test_pool_of_none_still_makes_progress(tracking) -> None:
    Simulation(seconds=0.2, workers=0).run("poolless")
    assert Job.objects.get().status == JobStatus.SUCCEEDED
    assert not Worker.objects.exists()


def test_cancelled_job_ends_at_the_next_tick(tracking, monkeypatch) -> None:
    ticks = []

    def sleep(seconds: float) -> None:
        ticks.append(seconds)
        if len(ticks) == 3:
            request_cancellation("stopped")

    monkeypatch.setattr(simulation.time, "sleep", sleep)
    with pytest.raises(JobCancelled):
        Simulation(seconds=600).run("stopped")
    assert len(ticks) == 3
    assert Job.objects.get().status == JobStatus.CANCELLED


def test_foreground_prints_the_id_last_and_a_wanted_failure_is_no_error(tracking, capsys) -> None:
    call_command("simulate_job", "--foreground", "--seconds=0.2", "--fail-at=50", "--job-id=asked")
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "asked"
    assert "Simulated failure at 50 %" in err


@pytest.mark.parametrize("flags", [[], ["--foreground"]])
def test_existing_id_is_refused_with_the_remedy(tracking, flags: list[str]) -> None:
    queue_job("real.pdf", job_id="taken")
    with pytest.raises(CommandError, match=r"taken exists and is queued\. Choose another id"):
        call_command("simulate_job", "--job-id=taken", *flags)
    assert Job.objects.get().document_name == "real.pdf"


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--seconds=0", "'0' is not a number from 0.1 to 86400"),
        ("--seconds=soon", "'soon' is not a number"),
        ("--seconds=nan", "'nan' is not a number"),
        ("--workers=-1", "'-1' is not a whole number from 0 to 1000"),
        ("--workers=2.5", "'2.5' is not a whole number"),
        ("--fail-at=101", "'101' is not a number from 0 to 100"),
        ("--workers=9999", "'9999' is not a whole number from 0 to 1000"),
        ("--stages=a,,b", "not a list of different names"),
        ("--stages=a,a", "not a list of different names"),
        ("--stages=" + "x" * 65, "cannot name a stage"),
        ("--job-id=a/b", "A job id has 1 to 255 printable characters"),
        ("--job-id=", "A job id has 1 to 255 printable characters"),
    ],
)
def test_invalid_argument_is_explained_and_creates_no_job(tracking, argument, says) -> None:
    with pytest.raises(CommandError, match=says):
        call_command("simulate_job", argument)
    assert not Job.objects.exists()
