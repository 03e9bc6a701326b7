from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from ingestion_progress.exceptions import JobCancelled
from ingestion_progress.management import simulation
from ingestion_progress.management.simulation import SimulatedFailure, Simulation
from ingestion_progress.models import Job, Stage, Worker
from ingestion_progress.snapshots import load_snapshot
from ingestion_progress.statuses import JobStatus, StageStatus, WorkerStatus
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import queue_job, request_cancellation
from tests.live import LiveProject

database = pytest.mark.database


@pytest.fixture
def tracking(db) -> Iterator[None]:
    """Trackers write at once, into the test's own transaction."""
    with synchronous_tracking():
        yield


def watched(project: LiveProject, job_id: str) -> list[dict]:
    """Every state that `follow` printed until the job had succeeded."""
    return [json.loads(line) for line in project.manage("follow", "--json", job_id).splitlines()]


def now(project: LiveProject, job_id: str) -> dict:
    return json.loads(project.manage("follow", "--json", "--once", job_id))


def wait_until(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


# In a process of its own


@database
def test_detached_job_outlives_the_command_and_takes_its_time(project: LiveProject) -> None:
    job_id = project.manage("simulate_job", "--seconds", "4").splitlines()[-1]
    states = watched(project, job_id)
    percents = [state["overall_progress_percent"] for state in states]
    assert len(states) > 5
    assert percents == sorted(percents)
    end = states[-1]
    assert percents[-1] == 100
    assert 4000 <= end["timing"]["elapsed_ms"] < 5500
    for stage in end["stages"].values():
        assert stage["processed"] == stage["total"] > 0
        assert stage["in_flight"] == 0
    metrics = end["metrics"]
    assert metrics["neo4j_writes"] == metrics["entities_total"] + metrics["relations_total"]
    assert metrics["qdrant_writes"] == end["total_chunks"]


@database
def test_workers_and_queue_are_alive_while_it_runs(project: LiveProject) -> None:
    job_id = project.manage("simulate_job", "--seconds=6", "--workers=3", "--job-id=lively").strip()
    pools = [state["worker_pool"] for state in watched(project, job_id)]
    assert max(pool["active"] for pool in pools) == 3
    assert max(pool["queue_depth"] for pool in pools) > 0
    chunks = {worker["current_chunk"] for pool in pools for worker in pool["workers"]}
    assert len(chunks) > 6
    assert pools[-1]["active"] == pools[-1]["queue_depth"] == 0


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_simulation_leads_a_session_of_its_own(sqlite_project: LiveProject) -> None:
    sqlite_project.manage("simulate_job", "--seconds=60", "--job-id=apart")
    pid = process_of("apart")
    try:
        assert os.getsid(pid) == pid
        # The child of a command that has returned, with no terminal and no pipe left open.
        for number in range(3):
            assert Path(f"/proc/{pid}/fd/{number}").readlink() == Path("/dev/null")
    finally:
        os.kill(pid, signal.SIGKILL)


def process_of(job_id: str) -> int:
    wanted = f"--job-id={job_id}".encode()
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if wanted in cmdline.read_bytes().split(b"\0"):
                return int(cmdline.parent.name)
        except OSError:
            continue
    raise AssertionError(f"no process simulates {job_id}")


@database
def test_cancelled_simulation_stops_promptly(project: LiveProject) -> None:
    job_id = project.manage("simulate_job", "--seconds=120", "--job-id=to-cancel").strip()
    wait_until(lambda: now(project, job_id)["overall_progress_percent"] > 0)
    cancel = (
        "import sys; from ingestion_progress.tracker import request_cancellation\n"
        "request_cancellation(sys.argv[1])"
    )
    assert project.python(cancel, job_id).wait(20) == 0
    asked_at = time.time()
    follow = project.spawn(sys.executable, "manage.py", "follow", job_id)
    assert follow.wait(20) == 1
    end = now_after_failure(project, job_id)
    ended_at = end["timing"]["started_at"] + end["timing"]["elapsed_ms"] / 1000
    assert ended_at - asked_at < 1.5


def now_after_failure(project: LiveProject, job_id: str) -> dict:
    """`follow` of a job that did not succeed exits with 1, which `manage` would raise for."""
    source = (
        "import sys; from django.utils import timezone; "
        "from ingestion_progress.snapshots import load_snapshot as load; "
        "print(load(sys.argv[1]).progress(timezone.now()).model_dump_json())"
    )
    before = project.log.stat().st_size
    assert project.python(source, job_id).wait(20) == 0
    with project.log.open() as log:
        log.seek(before)
        return json.loads(log.read().splitlines()[-1])


def test_padding_makes_each_state_that_much_larger(sqlite_project: LiveProject) -> None:
    sqlite_project.manage("simulate_job", "--seconds=60", "--job-id=fat", "--pad-kib=48")

    def padding() -> int:
        workers = now(sqlite_project, "fat")["worker_pool"]["workers"]
        return len(json.dumps(workers[4:], separators=(",", ":")))

    wait_until(lambda: padding() > 10_000)
    assert 48 * 1024 <= padding() < 52 * 1024
    os.kill(process_of("fat"), signal.SIGKILL)


def test_interrupted_in_the_foreground_it_cancels_its_job(sqlite_project: LiveProject) -> None:
    command = ["manage.py", "simulate_job", "--foreground", "--seconds=60", "--job-id=interrupted"]
    process = sqlite_project.spawn(sys.executable, *command)

    def has_begun() -> bool:
        try:
            return now(sqlite_project, "interrupted")["overall_progress_percent"] > 0
        except subprocess.CalledProcessError:
            return False  # not there yet

    wait_until(has_begun)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 1
    log = sqlite_project.log.read_text()
    assert "Job interrupted was cancelled." in log
    assert "Traceback" not in log


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
def test_fails_at_about_the_given_percentage_with_a_reason(tracking, percent: float) -> None:
    with pytest.raises(SimulatedFailure):
        Simulation(seconds=0.5, fail_at_percent=percent).run("failing")
    snapshot = load_snapshot("failing")
    assert snapshot.job.status == JobStatus.FAILED
    assert snapshot.job.error == f"Simulated failure at {percent} %, as it was asked for."
    assert percent - 0.2 <= snapshot.overall_percent <= percent + 5


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
def test_taken_id_is_refused_with_the_remedy(tracking, flags: list[str]) -> None:
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
        ("--pad-kib=9999", "'9999' is not a whole number from 0 to 2048"),
        ("--stages=a,,b", "not a list of different names"),
        ("--stages=a,a", "not a list of different names"),
        ("--stages=" + "x" * 65, "cannot name a stage"),
        ("--job-id=a/b", "A job id has 1 to 255 printable characters"),
        ("--job-id=", "A job id has 1 to 255 printable characters"),
    ],
)
def test_bad_argument_is_explained_and_leaves_nothing_behind(tracking, argument, says) -> None:
    with pytest.raises(CommandError, match=says):
        call_command("simulate_job", argument)
    assert not Job.objects.exists()
