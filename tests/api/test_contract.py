"""Schemathesis sends a real server valid and invalid requests of the OpenAPI document.

Each answer must be one that the document promises: status, headers, body, and for a stream every
single message, down to the JSON in its `data`. `schemathesis.toml` says what is tried.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from ingestion_progress.wire.events import STREAM_EVENTS
from tests.support.live import ROOT, LiveServer, live_project

pytestmark = pytest.mark.once

CONFIG = ROOT / "tests" / "support" / "schemathesis.toml"
SEED = """
import io
import json
from datetime import UTC, datetime
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.tracker import create_batch
from ingestion_progress.tracker.error_groups import error_group, write_errors
from tests.support.page_jobs import job_with
for status in JobStatus:
    error = "" if status in {"queued", "running", "succeeded"} else "Something broke."
    resume_point = {"epoch": "0123456789ab", "updated_at": datetime(2026, 1, 1, tzinfo=UTC)}
    job_with(status, job_id=status.value, counters={"tables": 4}, error=error, **resume_point)
job_with(JobStatus.QUEUED, job_id="again", attempt=2)
job_with(JobStatus.FAILED, job_id="of-a-batch", batch="import", task="a.task")
job_with(JobStatus.QUEUED, job_id="also-of-it", batch="import")
for number in range(1, 4):
    create_batch("May", batch_id=f"empty-{number}")
for number in range(1, 6):
    job_with(JobStatus.FAILED, job_id=f"gone-{number}", error="Something broke.")
    job_with(JobStatus.QUEUED, job_id=f"stopped-{number}")
    job_with(JobStatus.FAILED, job_id=f"again-{number}", error="It broke.", task="a.task")
for number in range(1, 4):
    group = error_group(f"{number:*<{number}}", at=timezone.now(), stage="parsing", item="page 1")
    write_errors(Job.objects.get(pk="failed"), [group])
for name in ("report", *(f"deleted-{number}" for number in range(1, 6))):
    receive(io.BytesIO(name.encode()), name="a.txt", document_id=name, is_enqueued=False)
    Job.objects.filter(document_id=name).update(status="failed", finished_at=timezone.now())
client = Client()
client.force_login(User.objects.create_user("ada"))
print(json.dumps(client.cookies["sessionid"].value))
"""


# The stream of a running job must end as well, after a keep-alive.
SHORT_STREAMS = {"MAX_STREAM_SECONDS": "0.5", "KEEPALIVE_SECONDS": "0.2"}


@dataclass(frozen=True)
class Site:
    """A server, and the session of somebody who is logged in to it."""

    server: LiveServer
    session_key: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """In a separate project: a worker of other tests would ingest a hundred uploads."""
    folder = tmp_path_factory.mktemp("contract")
    with live_project(folder, f"sqlite:///{folder / 'progress.sqlite3'}") as project:
        session_key = project.ask(SEED)
        yield Site(project.serve("uvicorn", **SHORT_STREAMS), session_key)


@pytest.fixture(scope="module")
def document(site: Site) -> dict[str, Any]:
    return httpx.get(f"{site.server.url}/api/v1/openapi.json").json()


@dataclass(frozen=True)
class Run:
    """One run of schemathesis: its output, and every request with its response."""

    code: int
    output: str
    exchanges: list[dict[str, Any]]

    def answers(self, method: str, path: str) -> list[dict[str, Any]]:
        """The responses to the requests of an operation, in the format of an HTTP archive."""
        address = re.compile(re.sub(r"{\w+}", "[^/]+", path))
        return [
            exchange["response"]
            for exchange in self.exchanges
            if exchange["request"]["method"] == method
            and address.fullmatch(urlsplit(exchange["request"]["url"]).path)
        ]


@pytest.fixture(scope="module")
def run(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Run:
    report = tmp_path_factory.mktemp("schemathesis") / "requests.har"
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("--config-file", str(CONFIG), "run", f"{site.server.url}/api/v1/openapi.json"),
            *("--report", "har", "--report-har-path", str(report)),
        ],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "100", "SESSION_KEY": site.session_key},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert report.exists(), done.stdout
    return Run(done.returncode, done.stdout, json.loads(report.read_text())["log"]["entries"])


def test_every_response_is_documented(run):
    assert run.code == 0, run.output


def test_every_operation_succeeded_at_least_once(run, document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            statuses = {answer["status"] for answer in run.answers(method.upper(), path)}
            promised = {int(status) for status in operation["responses"] if status.startswith("2")}
            assert statuses & promised, (method, path, statuses)


def test_every_event_of_a_stream_and_its_resuming_were_seen(run):
    of_one = run.answers("GET", "/api/v1/admin/ingestion/jobs/{job_id}/progress")
    assert {answer["status"] for answer in of_one} == {200, 204}
    of_many = run.answers("GET", "/api/v1/admin/ingestion/progress")
    bodies = [answer["content"].get("text", "") for answer in [*of_one, *of_many]]
    names = {name for body in bodies for name in re.findall("^event: (.+)$", body, re.MULTILINE)}
    assert names >= {event.name for event in STREAM_EVENTS}
