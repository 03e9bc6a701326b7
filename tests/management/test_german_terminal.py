"""Commands that show jobs and documents are in the language of LANGUAGE_CODE, whole."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from rich.console import Console

from ingestion_progress.management.terminal.views import render_many, render_one
from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.wire.snapshots import load_snapshot, load_snapshots
from tests.support.following import exit_code
from tests.support.german import english_in

pytest_plugins = ["tests.support.german_pages", "tests.support.polls"]
pytestmark = [pytest.mark.once, pytest.mark.django_db(transaction=True)]

LONG_AGO = timedelta(minutes=5)


@pytest.fixture(autouse=True)
def _language(settings):
    settings.LANGUAGE_CODE = "de"


@pytest.fixture
def troubled(german_jobs: list[Job]) -> list[str]:
    """Ids of jobs with each status, and some with what can be wrong with a running one."""
    running = next(job for job in german_jobs if job.status == "running")
    for name, fields in {
        "stumm": {"heartbeat_at": timezone.now() - timedelta(seconds=15)},
        "tot": {"heartbeat_at": timezone.now() - LONG_AGO, "updated_at": timezone.now() - LONG_AGO},
        "still": {"updated_at": timezone.now() - LONG_AGO},
        "abbruch": {"cancel_requested_at": timezone.now()},
    }.items():
        stages, workers = running.stages.all(), running.workers.all()
        copied = Job.objects.get(pk=running.pk)
        copied.pk, copied._state.adding = name, True
        for field, value in fields.items():
            setattr(copied, field, value)
        copied.save()
        for row in (*stages, *workers):
            row.pk, row.job_id, row._state.adding = None, name, True
            row.save()
    Job.objects.filter(status="queued").update(created_at=timezone.now() - LONG_AGO)
    Job.objects.filter(status="succeeded").update(failed_items=0)
    return list(Job.objects.values_list("pk", flat=True))


def shown(view: object) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=200, highlight=False).print(view)
    return output.getvalue().splitlines()


def test_views_of_a_terminal_have_no_english_words(troubled):
    now = database_now()
    for job_id in troubled:
        assert english_in(shown(render_one(load_snapshot(job_id), now, 200))) == []
    states = list(load_snapshots(Job.objects.all()).values())
    assert english_in(shown(render_many(states, now, 3, 200))) == []


def test_lines_of_followed_jobs_have_no_english_words(troubled, capsys):
    for selection in (["--all"], ["--batch", "b"], *([job_id] for job_id in troubled)):
        exit_code(*selection, "--once")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > len(troubled)
    assert english_in(lines) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["follow"],
        ["follow", "keiner"],
        ["follow", "--batch", "keiner"],
        ["follow", "--batch", "/"],
        ["retry"],
        ["retry", "j1"],
        ["forget"],
        ["forget", "keins"],
        ["ingest", "/keine"],
        ["ingest", "pyproject.toml", "--owner", "niemand"],
        ["ingest", "pyproject.toml", "--metadata", "["],
        ["search", "a", "--limit", "0"],
    ],
)
@pytest.mark.usefixtures("german_jobs")
def test_refusals_of_commands_have_no_english_words(arguments, capsys):
    with pytest.raises(CommandError) as refused:
        call_command(*arguments)
    output = capsys.readouterr()
    assert english_in([str(refused.value), output.out, output.err]) == []
