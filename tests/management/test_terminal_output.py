"""No control character of a job or a document reaches the terminal, whatever command shows it."""

from __future__ import annotations

import io
import json
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
from django.core.management import ManagementUtility, call_command

from ingestion_progress.management.doctor import report
from ingestion_progress.management.doctor.report import EndpointReport
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.management.terminal.output import (
    printable,
    printable_json,
    printable_lines,
)
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from tests.support.documents import storage  # noqa: F401
from tests.support.page_jobs import job_with

OVERRIDE = "\u202e"
HOSTILE = f"a\r\nb\x1b]0;owned\x07\x9b2J\x7f\x1b[31m{OVERRIDE}c"


def is_clean(text: str) -> bool:
    return not [
        each for each in text if unicodedata.category(each) in {"Cc", "Cf"} and each != "\n"
    ]


@pytest.fixture
def run(capfd):
    """Runs a command as a shell does, and returns what it printed on both outputs."""

    def run(name: str, *args: str) -> str:
        with suppress(SystemExit):
            ManagementUtility(["manage.py", name, *args]).execute()
        out, err = capfd.readouterr()
        return out + err

    return run


def test_control_and_format_characters_become_spaces():
    assert printable("a\tb\x1b[0m\u2067é 日") == "a b [0m é 日"
    assert printable_lines("a\nb\x85\r\nc") == "a\nb  \nc"
    assert json.loads(printable_json(text := json.dumps(HOSTILE, ensure_ascii=False))) == HOSTILE
    assert printable_json(text).isprintable()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize(
    "command",
    [
        ("follow", HOSTILE),
        ("follow", "--batch", HOSTILE),
        ("follow", "--all", "--once", "--json"),
        ("follow", "job-1"),
        ("follow", "--json", "job-1"),
        ("retry", HOSTILE, "job-1"),
        ("rescue_jobs", "--died", HOSTILE),
        ("simulate_job", "--job-id", HOSTILE),
        ("stream_token", HOSTILE),
        ("ingest", f"/nowhere/{HOSTILE}"),
        ("search", HOSTILE),
        ("doctor", f"http://{HOSTILE}/"),
    ],
    ids=" ".join,
)
def test_commands_print_no_control_character(run, command):
    job_with(JobStatus.FAILED, job_id="job-1", document_name=HOSTILE, error=HOSTILE)
    printed = run(*command)
    assert is_clean(printed), printed


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage")
def test_refused_document_is_reported_without_control_characters(run, tmp_path: Path):
    name = HOSTILE.replace("/", "") + ".txt"
    (tmp_path / name).write_bytes(b"")
    printed = run("ingest", str(tmp_path))
    assert "is empty" in printed
    assert is_clean(printed), printed


@pytest.mark.django_db(transaction=True)
def test_a_stored_id_with_control_characters_is_shown_without_them(run):
    job = job_with(JobStatus.FAILED, job_id="job-1", document_name="a.pdf")
    Job.objects.filter(pk=job.pk).update(batch="b")
    Job.objects.create(id=f"x{HOSTILE}", document_name="b.pdf", status=JobStatus.RUNNING, batch="b")
    for flags in ([], ["--json"]):
        printed = run("follow", "--batch", "b", "--once", *flags)
        assert "owned" in printed
        assert is_clean(printed), printed


def test_a_json_report_of_a_hostile_server_is_clean():
    hop = EndpointReport(url="http://a/", server=HOSTILE, via=HOSTILE, findings=())
    printed = report.as_json([hop])
    assert is_clean(printed)
    assert json.loads(printed)["hops"][0]["server"] == HOSTILE


@pytest.mark.parametrize("is_at_call", [True, False])
def test_remarks_to_another_output_are_clean(is_at_call):
    error = io.StringIO()

    class Command(TerminalCommand):
        requires_system_checks = ()

        def handle(self, *args, **options):
            self.stderr.write(HOSTILE)

    if is_at_call:
        call_command(Command(), stderr=error)
    else:
        call_command(Command(stderr=error))
    assert "owned" in error.getvalue()
    assert is_clean(error.getvalue())
