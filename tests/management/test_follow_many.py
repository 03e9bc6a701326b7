from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.db import connection
from django.db.models import F
from django.utils import timezone
from rich.console import Console

from ingestion_progress.feed import Selection
from ingestion_progress.management.terminal import views
from ingestion_progress.management.terminal.following import FollowedJobs
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.tracker import delete_job, fail_job, queue_job, request_cancellation, track
from ingestion_progress.wire.frames import single_job_frame
from ingestion_progress.wire.schemas import JobPipelineProgressEventData
from ingestion_progress.wire.snapshots import load_snapshots
from tests.support.following import exit_code, read_until, running
from tests.support.live import LiveProject
from tests.support.page_jobs import job_with
from tests.support.simulated import following, simulated

# SQLite keeps it and cannot give it back.
UNDECODABLE = "UPDATE ingestion_progress_job SET error = CAST(X'FF' AS TEXT) WHERE id = %s"

pytest_plugins = ["tests.support.polls"]
pytestmark = [pytest.mark.once, pytest.mark.django_db(transaction=True)]


def started(job_id: str, **options):
    job = track(f"{job_id}.pdf", job_id=job_id, stages=["parsing"], **options)
    job.start()
    return job


def refusal(*args: str) -> str:
    """Why nothing was followed."""
    with pytest.raises(CommandError) as caught:
        exit_code(*args)
    assert caught.value.returncode == 2
    return str(caught.value)


# Which jobs


def test_named_jobs_are_watched_until_the_last_of_them_has_ended(steps, capsys) -> None:
    one, two = started("one"), started("two")
    started("other")
    stage = one.stage("parsing", total=10)
    steps += [two.complete, lambda: stage.advance(5), lambda: None, one.complete]
    assert exit_code("one", "two") == 0
    lines = [line.split()[:3] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["one", "0.0%", "running"],
        ["two", "0.0%", "running"],
        ["two", "100.0%", "succeeded"],
        ["one", "50.0%", "running"],
        ["one", "100.0%", "succeeded"],
        ["2", "succeeded"],
    ]


def test_job_that_is_named_twice_is_shown_once(steps, capsys) -> None:
    started("one").complete()
    assert exit_code("one", "one") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("100.0%")  # the view of one job


def test_active_jobs_are_watched_and_those_that_begin_join(steps, capsys) -> None:
    started("past").complete()
    one = started("one")
    steps += [lambda: started("two"), one.complete, lambda: fail_job("two", "No text.")]
    assert exit_code("--all") == 1
    out = capsys.readouterr().out
    assert "past" not in out
    assert "two  0.0%  failed  two.pdf  No text." in re.sub(" +0", "  0", out)
    assert out.endswith("1 succeeded, 1 failed\n")


def test_job_that_begins_and_fails_between_two_reads_is_shown(steps, capsys) -> None:
    one = started("one")
    steps += [lambda: (queue_job("two.pdf", job_id="two"), fail_job("two", "Empty.")), one.complete]
    assert exit_code("--all") == 1
    assert "Empty." in capsys.readouterr().out


def test_no_active_job_is_reported_and_is_no_failure(steps, capsys) -> None:
    started("past")
    fail_job("past", "Long ago.")
    assert exit_code("--all") == 0
    assert capsys.readouterr().out == "No job is active.\n"


def test_batch_is_watched_and_no_job_of_another(steps, capsys) -> None:
    mine = started("mine", batch="import")
    started("other", batch="import-2")
    steps += [lambda: started("later", batch="import").complete(), mine.complete]
    assert exit_code("--batch", "import") == 0
    out = capsys.readouterr().out
    assert "other" not in out
    assert out.endswith("2 succeeded\n")


def test_batch_has_a_line_of_its_own_with_its_forecast(steps, capsys) -> None:
    started("done", batch="import").complete()
    started("mine", batch="import")
    assert exit_code("--batch", "import", "--once") == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "batch import" in line]
    assert "1 of 2 jobs ended" in line
    assert re.search(r" 50\.0%  batch import  .*(left|Estimating|history)", line), line


def test_progress_of_a_batch_is_an_object_beside_those_of_its_jobs(steps, capsys) -> None:
    started("mine", batch="import")
    assert exit_code("--batch", "import", "--once", "--json") == 0
    job, batch = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert job["job_id"] == "mine"
    assert (batch["batch_id"], batch["progress"]["counts"]["running"]) == ("import", 1)
    assert batch["progress"]["forecast"]["reason"]


def test_batch_counts_a_failure_from_before_the_command(steps, capsys) -> None:
    started("early", batch="import")
    fail_job("early", "No text.")
    mine = started("mine", batch="import")
    steps.append(mine.complete)
    assert exit_code("--batch", "import") == 1
    assert capsys.readouterr().out.endswith("1 succeeded, 1 failed\n")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["one", "nobody", "no-one"], "Job not found: nobody, no-one"),
        (["--batch", "nothing"], "Batch not found: nothing"),
        (["--batch", "a/b"], "The id of a batch has 1 to 255 printable characters"),
        (["--batch", ""], "The id of a batch has 1 to 255 printable characters"),
        ([], "Name the jobs, or their --batch, or say --all."),
        (["one", "--all"], "Name the jobs, or their --batch, or say --all."),
        (["--batch", "import", "--all"], "Name the jobs, or their --batch, or say --all."),
    ],
)
def test_what_does_not_exist_is_exit_code_2_before_anything_is_shown(capsys, args, says) -> None:
    running("one", batch="import")
    assert refusal(*args).startswith(says)
    assert capsys.readouterr().out == ""


def test_no_more_jobs_may_be_named_than_one_stream_may_have(steps, settings) -> None:
    settings.INGESTION_PROGRESS_MAX_JOBS_PER_STREAM = 2
    assert refusal("a", "b", "c") == "2 jobs may be named, and these are 3."


# How they end


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (lambda: fail_job("bad", "Page 3 is broken."), "Page 3 is broken."),
        (lambda: request_cancellation("bad"), "cancelled"),
        (lambda: delete_job("bad"), "bad  deleted"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_bad_end_is_exit_code_1_once_the_others_have_ended(steps, capsys, end, says, flags) -> None:
    queue_job("report.pdf", job_id="bad")
    good = started("good")
    steps += [end, good.complete]
    assert exit_code("good", "bad", *flags) == 1
    out, err = capsys.readouterr()
    assert says in out + err
    assert "1 succeeded" in out + err


def test_silent_jobs_are_not_waited_for(steps, capsys) -> None:
    good = started("good")
    running("silent", heartbeat_at=timezone.now() - timedelta(seconds=95))
    steps.append(good.complete)
    assert exit_code("--all") == 1
    out = capsys.readouterr().out
    assert "No sign of life for 1 min 35 s" in out
    assert out.endswith("1 succeeded, 1 lost\n")


@pytest.mark.parametrize("args", [["good", "bad"], ["--all"]])
def test_row_that_cannot_be_read_ends_its_own_job_only(steps, capsys, args) -> None:
    good = started("good")
    started("bad")
    with connection.cursor() as cursor:
        cursor.execute(UNDECODABLE, ["bad"])
    steps += [lambda: None, good.complete]
    assert exit_code(*args) == 1
    out = capsys.readouterr().out
    assert out.count("bad  unreadable") == 1
    assert out.endswith("1 succeeded, 1 unreadable\n")


def test_deletion_of_an_ended_job_does_not_change_its_end(steps, capsys) -> None:
    one, two = started("one"), started("two")
    steps += [one.complete, lambda: delete_job("one"), two.complete]
    assert exit_code("one", "two") == 0
    assert capsys.readouterr().out.endswith("2 succeeded\n")


def test_new_attempt_that_succeeds_makes_good_for_the_one_that_failed(steps, capsys) -> None:
    started("one")
    two = started("two")
    steps += [
        lambda: fail_job("one", "No text."),
        lambda: started("one", restart=True),
        lambda: None,
        lambda: Job.objects.filter(pk="one").update(
            status="succeeded", finished_at=timezone.now(), revision=F("revision") + 1
        ),
        two.complete,
    ]
    assert exit_code("one", "two") == 0
    assert capsys.readouterr().out.endswith("2 succeeded\n")


# What is shown


def test_once_shows_each_state_and_returns(steps, capsys) -> None:
    started("one")
    started("two").complete()
    assert exit_code("--once", "one", "two") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 active, 1 succeeded"


def test_json_is_the_object_of_a_stream_of_many_once_per_change(steps, capsys) -> None:
    one, two = started("one"), started("two")
    stage = one.stage("parsing", total=4)
    steps += [lambda: None, stage.advance, lambda: None, two.complete, one.complete]
    assert exit_code("--json", "--all") == 0
    out, err = capsys.readouterr()
    states = [JobPipelineProgressEventData.model_validate_json(line) for line in out.splitlines()]
    assert [(state.job_id, state.overall_progress_percent) for state in states] == [
        ("one", 0),
        ("two", 0),
        ("one", 25),
        ("two", 100),
        ("one", 100),
    ]
    assert err == "2 succeeded\n"


def test_name_of_two_lines_is_printed_on_one_without_what_a_terminal_obeys(steps, capsys) -> None:
    started("one").complete()
    job_with(JobStatus.FAILED, job_id="two", document_name="a\n\x1b[2Jb", error="Two\nlines.")
    exit_code("one", "two")
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert "\x1b" not in out


def test_warning_about_one_of_many_jobs_is_printed_once(steps, capsys) -> None:
    running("one", updated_at=timezone.now() - timedelta(seconds=300))
    started("two")
    steps += [lambda: None, lambda: fail_job("one", "Enough."), lambda: fail_job("two", "Enough.")]
    exit_code("--json", "one", "two")
    err = capsys.readouterr().err
    assert err.count("one  Alive, but without progress") == 1
    assert "one  Enough.\n" in err


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.database
@pytest.mark.parametrize("count", [2, 60])
@pytest.mark.parametrize("is_named", [True, False])
def test_poll_costs_three_queries_with_news_and_one_without(steps, capsys, count, is_named) -> None:
    names = [f"job-{number}" for number in range(count)]
    for job_id in names:
        job_with(job_id=job_id)
    steps += [lambda: None, interrupt]
    assert exit_code(*(names if is_named else ["--all"])) == 130
    assert steps.query_counts == [3, 1]
    assert len(capsys.readouterr().out.splitlines()) == count


@pytest.mark.database
def test_tally_of_a_batch_is_one_query_however_large_it_is(django_assert_num_queries) -> None:
    for number, status in enumerate([*JobStatus, JobStatus.SUCCEEDED]):
        job_with(status, job_id=f"job-{number}", batch="import")
    job_with(JobStatus.FAILED, job_id="other")
    job_with(JobStatus.SUCCEEDED, job_id="partial", batch="import", failed_items=2)
    now = timezone.now()
    active = load_snapshots(Job.objects.active()).values()
    jobs = FollowedJobs(Selection.active(batch="import"))
    jobs.take(single_job_frame(snapshot, now) for snapshot in active)
    with django_assert_num_queries(1):
        tally = jobs.tally()
    ended = {"succeeded": 2, "partial": 1, "failed": 1, "cancelled": 1, "lost": 1}
    assert tally == {"active": 2} | ended


def drawn(rows: int, width: int = 100) -> list[str]:
    out = io.StringIO()
    snapshots = load_snapshots(Job.objects.all())
    bars = views.render_many(snapshots.values(), timezone.now(), rows, width)
    Console(file=out, width=width).print(bars)
    return out.getvalue().splitlines()


def test_bars_show_the_percentage_and_the_stages_of_each_job() -> None:
    job_with(job_id="one", document_name="one.pdf", reached_percent=60)
    job_with(JobStatus.QUEUED, job_id="two", created_at=timezone.now() - timedelta(seconds=90))
    one, two = drawn(10)
    assert re.search(r"^one\.pdf +━+ +60\.0% running +in_progress_stage 1200/4800$", one.rstrip())
    assert re.search(r"queued +Queued for 1 min 30 s: is a wo", two)


def test_bars_are_never_more_lines_than_the_terminal_has() -> None:
    now = timezone.now()
    for number in range(30):
        began = now - timedelta(seconds=60 - number)
        job_with(job_id=f"job-{number}", document_name=f"{number}\n\x1b[2J.pdf", started_at=began)
        job_with(JobStatus.QUEUED, job_id=f"waits-{number}")
    lines = drawn(4, width=60)
    assert [line.split()[0] for line in lines[:4]] == ["26", "27", "28", "29"]
    assert lines[4:] == ["and 56 more"]
    assert "\x1b" not in "".join(lines)


def test_remaining_rows_show_the_next_queued_jobs() -> None:
    job_with(job_id="runs", document_name="runs")
    for number in range(3):
        created = timezone.now() - timedelta(seconds=30 - number)
        job_with(
            JobStatus.QUEUED, job_id=f"{number}", document_name=f"{number}", created_at=created
        )
    assert [line.split()[0] for line in drawn(3)] == ["runs", "0", "1", "and"]


# As real processes


def test_terminal_of_twelve_lines_gets_bars_that_are_redrawn(sqlite_project: LiveProject) -> None:
    seed = """
        from tests.support.page_jobs import job_with
        for number in range(40):
            job_with(job_id=f"panel-{number}", batch="panel")
    """
    sqlite_project.ask(seed)
    main, terminal = pty.openpty()
    size = {"TERM": "xterm-256color", "COLUMNS": "110", "LINES": "12"}
    process = following(
        sqlite_project,
        "--batch=panel",
        # No process sends heartbeats of these jobs.
        env=sqlite_project.env | size | {"LOST_AFTER_SECONDS": "600"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    screen = read_until(main, rb"and 3\d more.*\x1b\[1A.*and 3\d more.*and 31 more.*batch panel")
    sqlite_project.ask(
        "from ingestion_progress.tracker import fail_job; fail_job('panel-7', 'No text.')"
    )
    screen += read_until(main, rb"panel-7 .*failed.*No text\..*and 30 more.*batch panel")
    process.send_signal(signal.SIGINT)
    screen += read_until(main)
    assert process.wait(60) == 130
    assert max(map(len, re.findall(rb"(?:\x1b\[1A(?:\x1b\[2K)?)+", screen))) <= 12 * 8
    assert "Traceback" not in screen.decode()
    assert screen.rstrip().endswith(b"\x1b[?25h")  # the cursor is back


def test_jobs_of_other_processes_are_followed_to_their_ends(sqlite_project: LiveProject) -> None:
    with (
        simulated(sqlite_project, "--seconds=2") as one,
        simulated(sqlite_project, "--seconds=2", "--fail-at=50") as two,
        following(sqlite_project, "--json", one, two) as process,
    ):
        out, err = process.communicate(timeout=30)
        states = [
            JobPipelineProgressEventData.model_validate_json(line) for line in out.splitlines()
        ]
        assert process.returncode == 1
        assert {state.job_id for state in states} == {one, two}
        assert err.endswith("1 succeeded, 1 failed\n")
