from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone
from rich.console import Console

from ingestion_progress.feed import feed, poller
from ingestion_progress.management.terminal import views
from ingestion_progress.models import Job, Stage, Worker
from ingestion_progress.models.statuses import JobStatus, WorkerStatus
from ingestion_progress.recovery.rescue import report_death
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import delete_job, fail_job, queue_job, request_cancellation, track
from ingestion_progress.tracker.attempts import this_process
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan
from ingestion_progress.wire.schemas import PipelineProgressEventData
from ingestion_progress.wire.snapshots import load_snapshot
from tests.support.following import exit_code, read_until, running
from tests.support.live import LiveProject
from tests.support.page_jobs import job_with
from tests.support.simulated import following, simulated, states

pytest_plugins = ["tests.support.polls"]
pytestmark = [pytest.mark.once, pytest.mark.django_db(transaction=True)]


def test_lines_appear_only_when_something_changed(steps, capsys) -> None:
    job = track("report.pdf", job_id="job-1", stages=["parsing"])
    job.start()
    stage = job.stage("parsing", total=10)
    steps += [lambda: None, lambda: stage.advance(5), lambda: None, lambda: None, job.complete]
    assert exit_code("job-1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["0.0%", "running"],
        ["50.0%", "running"],
        ["100.0%", "succeeded"],
    ]


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (lambda: fail_job("job-1", "Page 3 is broken."), "Page 3 is broken."),
        (lambda: request_cancellation("job-1"), "cancelled"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_unsuccessful_end_is_exit_code_1_with_the_reason(steps, capsys, end, says, flags) -> None:
    queue_job("report.pdf", job_id="job-1")
    steps.append(end)
    assert exit_code("job-1", *flags) == 1
    out, err = capsys.readouterr()
    assert says.lower() in (out + err).lower()


@pytest.mark.parametrize("names", [["job-1"], ["job-1", "whole"], ["--all"]])
def test_success_with_failed_items_is_exit_code_3(steps, capsys, names) -> None:
    with synchronous_tracking():
        job = track("report.pdf", job_id="job-1", stages=["parsing"])
        job.start()
        whole = track("b.pdf", job_id="whole", stages=["parsing"])
        whole.start()
        job.stage("parsing").record_error("odd")
        job.stage("parsing").record_error("odd")
        steps += [lambda: None, job.complete]
        if names != ["job-1"]:
            steps.append(whole.complete)
        assert exit_code(*names) == 3
    out = capsys.readouterr().out
    assert "succeeded with 2 errors" in out
    if names != ["job-1"]:
        assert "1 succeeded, 1 succeeded with errors" in out


def test_unknown_job_is_exit_code_2(steps) -> None:
    with pytest.raises(CommandError, match="Job not found: nobody") as caught:
        call_command("follow", "nobody")
    assert caught.value.returncode == 2


def test_job_that_is_deleted_meanwhile_is_unknown(steps) -> None:
    queue_job("report.pdf", job_id="job-1")
    steps.append(lambda: delete_job("job-1"))
    with pytest.raises(CommandError, match="Job not found: job-1") as caught:
        call_command("follow", "job-1")
    assert caught.value.returncode == 2


def test_job_that_is_queued_again_is_followed_through_its_attempts(steps, capsys) -> None:
    plan = JobPlan("report.pdf", job_id="job-1", stages=["parsing"], task="shop.tasks.ingest")
    start_attempt(plan)
    again = track("report.pdf", job_id="job-1", stages=["parsing"])
    steps += [lambda: report_death(this_process()), again.start, again.complete]
    assert exit_code("job-1") == 0
    first, waiting, second, end = capsys.readouterr().out.splitlines()
    assert "running" in first
    assert "attempt" not in first
    assert re.match(r" *0.0%  queued  attempt 2  report.pdf  Waiting to continue: attempt", waiting)
    assert waiting.endswith("Its worker died.")
    assert re.match(r" *0.0%  running  attempt 2  report.pdf", second)
    assert re.match(r"100.0%  succeeded  attempt 2  report.pdf", end)


def test_silent_job_with_a_task_is_given_time_to_be_rescued(steps, capsys) -> None:
    running(heartbeat_at=timezone.now() - timedelta(seconds=30), task="shop.tasks.ingest")
    steps += [lambda: None, lambda: request_cancellation("job-1")]
    assert exit_code("job-1") == 1
    assert "cancelled" in capsys.readouterr().out


def test_silent_job_is_not_waited_for(steps, capsys) -> None:
    running(heartbeat_at=timezone.now() - timedelta(seconds=95))
    assert exit_code("job-1") == 1
    assert (
        "No sign of life for 1 min 35 s: its process has probably died." in capsys.readouterr().out
    )


def test_a_job_that_waits_for_a_service_names_it(steps, capsys) -> None:
    running(updated_at=timezone.now() - timedelta(seconds=300), waiting_for="the model at a.b")
    assert exit_code("job-1", "--once") == 0
    out = capsys.readouterr().out
    assert "Waiting for the model at a.b." in out
    assert "without progress" not in out


@pytest.mark.parametrize("flags", [["--once"], ["--once", "--json"]])
def test_stalled_job_is_explained(steps, capsys, flags) -> None:
    running(updated_at=timezone.now() - timedelta(seconds=300))
    assert exit_code("job-1", *flags) == 0
    out, err = capsys.readouterr()
    assert "Alive, but without progress for 5 min 00 s." in out + err


def test_starved_job_is_explained(steps, capsys) -> None:
    queue_job("report.pdf", job_id="job-1")
    Job.objects.update(created_at=timezone.now() - timedelta(seconds=90))
    assert exit_code("job-1", "--once") == 0
    assert "Queued for 1 min 30 s: is a worker running?" in capsys.readouterr().out


def test_job_that_becomes_starved_gets_a_line(steps, capsys) -> None:
    queue_job("report.pdf", job_id="job-1")
    long_ago = timezone.now() - timedelta(seconds=90)
    steps += [lambda: Job.objects.update(created_at=long_ago), lambda: fail_job("job-1", "Enough")]
    exit_code("job-1")
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_json_is_the_contracts_object_once_per_change(steps, capsys) -> None:
    with synchronous_tracking():
        job = track("report.pdf", job_id="job-1", stages=["parsing"])
        job.start()
        stage = job.stage("parsing", total=4)
    steps += [lambda: None, stage.advance, lambda: None, job.complete]
    assert exit_code("--json", "job-1") == 0
    states = [
        PipelineProgressEventData.model_validate_json(line)
        for line in capsys.readouterr().out.splitlines()
    ]
    assert [state.overall_progress_percent for state in states][-1] == 100
    assert len(states) == len(
        {state.model_copy(update={"timing": None}).model_dump_json() for state in states}
    )


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_no_control_character_of_a_job_reaches_the_terminal(steps, capsys, flags) -> None:
    bad = "a\nb\x1b]0;owned\x07\x9b2J"
    job_with(JobStatus.FAILED, job_id="job-1", document_name=bad, error=bad)
    Worker.objects.update(current_chunk=bad)
    assert exit_code("job-1", *flags) == 1
    out, err = capsys.readouterr()
    assert len((out + err).splitlines()) == (2 if flags else 1)
    assert (out + err).replace("\n", "").isprintable()
    if flags:
        assert json.loads(out)["document_name"] == bad


def test_no_control_character_of_a_job_is_drawn() -> None:
    bad = "a\nb\x1b]0;owned\x07\x9b2J"
    job = job_with(JobStatus.RUNNING, document_name=bad, error=bad)
    Worker.objects.update(current_chunk=bad)
    out = io.StringIO()
    Console(file=out, width=100).print(views.render_one(load_snapshot(job.pk), timezone.now(), 100))
    assert out.getvalue().count("owned") == 3 + len(WorkerStatus) - 1
    assert out.getvalue().replace("\n", "").isprintable()


def test_once_returns_0_while_the_job_runs(steps, capsys) -> None:
    running()
    assert exit_code("--once", "job-1") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_database_that_is_down_is_reported(monkeypatch, settings) -> None:
    settings.INGESTION_PROGRESS_KEEPALIVE_SECONDS = 0.04  # as often it looks for the patience's end
    monkeypatch.setattr(feed, "PATIENCE_SECONDS", 0.01)

    def fail(*args):
        raise OperationalError("gone")

    monkeypatch.setattr(poller, "read_changes", fail)
    with pytest.raises(CommandError, match="The database does not answer"):
        call_command("follow", "--all")


# As real processes


def test_terminated_follow_claims_no_success(sqlite_project: LiveProject) -> None:
    with simulated(sqlite_project) as job_id, following(sqlite_project, job_id) as process:
        assert process.stdout.readline()
        process.terminate()
        assert process.wait(60) in {-signal.SIGTERM, 128 + signal.SIGTERM}


def test_interrupt_ends_the_command_and_not_the_job(sqlite_project: LiveProject) -> None:
    with simulated(sqlite_project) as job_id:
        with following(sqlite_project, job_id) as process:
            assert process.stdout.readline()  # it is up and watching
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in out + err
        seen = [
            state["timing"]["elapsed_ms"]
            for state, _ in zip(states(sqlite_project, job_id), range(2), strict=False)
        ]
        assert seen[0] < seen[1]  # it goes on


def test_terminal_gets_bars_that_are_redrawn(sqlite_project: LiveProject) -> None:
    main, terminal = pty.openpty()
    size = {"TERM": "xterm-256color", "COLUMNS": "110", "LINES": "40"}
    with simulated(sqlite_project) as job_id:
        process = following(
            sqlite_project,
            job_id,
            env=sqlite_project.env | size,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        screen = read_until(main, rb"worker 2.*processing.*worker 2.*processing.*\x1b\[1A")
        process.send_signal(signal.SIGINT)
        screen += read_until(main)
        assert process.wait(60) == 130
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.decode())
    assert re.search(r"Parsing +[╸━]+", plain)
    assert re.search(r"worker 2 .*processing +page-\d+", plain)
    assert "Traceback" not in plain
    assert screen.rstrip().endswith(b"\x1b[?25h")  # the cursor is back


def test_closed_pipe_ends_the_command_without_an_error(sqlite_project: LiveProject) -> None:
    with (
        simulated(sqlite_project) as job_id,
        following(sqlite_project, "--json", job_id) as process,
    ):
        assert json.loads(process.stdout.readline())["document_id"] == job_id
        process.stdout.close()
        assert process.wait(60) == 1
        assert process.stderr.read() == ""


def test_terminal_shows_all_that_is_known_of_a_job():
    job = job_with(JobStatus.RUNNING, error_count=1, total_chunks=320, queue_depth=7)
    Stage.objects.filter(name="in_progress_stage").update(in_flight=4)
    Worker.objects.bulk_create(Worker(job=job, number=n) for n in range(10, 25))
    out = io.StringIO()
    snapshot = load_snapshot(job.pk)
    Console(file=out, width=100).print(views.render_one(snapshot, timezone.now(), 100))
    text = out.getvalue()

    assert "running, working" in text.replace("[/]", "")
    assert re.search(r"report\.pdf .* so far, .* left", text)
    assert "1200/4800 (+4)" in text
    assert re.search(r"Skipped stage .*skipped", text)
    assert re.search(r"worker 2 .*processing +chunk-2", text)
    assert re.search(r"and +6 more", text)
    assert re.search(r"queue +7 +waiting", text)
    assert "320 chunks" in text


def test_terminal_shows_why_a_job_failed():
    job = job_with(JobStatus.FAILED, error="The file is empty.")
    out = io.StringIO()
    Console(file=out, width=100).print(views.render_one(load_snapshot(job.pk), timezone.now(), 100))
    assert "The file is empty." in out.getvalue()
    assert "so far" not in out.getvalue()
    assert "worker" not in out.getvalue()
