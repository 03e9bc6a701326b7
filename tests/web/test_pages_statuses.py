"""Every status has a text, a colour, a label in JavaScript and a TypeScript literal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ingestion_progress
from ingestion_progress.models.statuses import (
    JobStatus,
    Liveness,
    ShownStageStatus,
    StageStatus,
    WorkerStatus,
)
from ingestion_progress.web import stage_texts
from tests.support.page_jobs import job_with, page_of, text_of

APP = Path(ingestion_progress.__file__).parent
STATIC = APP / "static/ingestion_progress"
NOTICES = APP / "templates/ingestion_progress/partials/notices.html"

KINDS = {"job": JobStatus, "stage": ShownStageStatus, "worker": WorkerStatus, "liveness": Liveness}
# On the wire a skipped stage is missing, and the others have another status.
ONLY_SHOWN = {"skipped", "stopped", "not_run"}
STATUSES = [(kind, status) for kind, statuses in KINDS.items() for status in statuses]
TYPES = {
    "job": ("JobStateData", "status"),
    "stage": ("StageProgress", "status"),
    "worker": ("WorkerInfo", "status"),
    "liveness": ("JobStateData", "liveness"),
}


def test_every_state_of_a_job_has_a_notice_and_no_other_has():
    notices = dict(re.findall(r'data-notice="([\w-]+)"(.*)</p>', NOTICES.read_text()))
    endings = {status.value for status in JobStatus if status.is_final}
    running = {f"liveness-{liveness.value}" for liveness in Liveness}
    assert set(notices) == endings | running | {
        *("stopping", "waiting", "next_attempt", "not_found")
    }
    for markup in notices.values():
        assert re.sub("{%.*?%}|<.*?>", "", markup.split(">", 1)[1]).strip()


@pytest.mark.parametrize("status", set(ShownStageStatus) - {ShownStageStatus.NOT_RUN})
def test_every_status_of_a_stage_has_a_text(status):
    assert stage_texts.stage_detail(status, 1, 2, "pages")


@pytest.mark.parametrize("status", WorkerStatus)
@pytest.mark.parametrize("chunk", ["chunk-1", ""])
def test_every_status_of_a_worker_has_a_text(status, chunk):
    assert stage_texts.worker_activity(status, chunk)


@pytest.mark.parametrize(("kind", "status"), STATUSES)
def test_status_has_a_colour(kind, status):
    attribute = "liveness" if kind == "liveness" else "status"
    selector = re.escape(f'[data-{attribute}="{status.value}"]')
    css = (STATIC / "theme.css").read_text()
    assert re.search(rf"{selector}[^{{}}]*{{ --tone: var\(--\w+\); }}", css)


@pytest.mark.parametrize(("kind", "status"), STATUSES)
def test_label_is_the_same_in_javascript(kind, status):
    javascript = (STATIC / "labels.js").read_text()
    (table,) = re.findall(rf"{kind.upper()}_LABELS = {{(.*?)}}", javascript, re.DOTALL)
    assert dict(re.findall(r'(\w+): "(.*)",', table))[status.value] == status.label


@pytest.mark.parametrize(
    ("kind", "status"), [pair for pair in STATUSES if pair[1].value not in ONLY_SHOWN]
)
def test_status_is_a_literal_in_typescript(kind, status):
    name, field = TYPES[kind]
    declaration = (STATIC / "progress-events.d.ts").read_text()
    (body,) = re.findall(rf"interface {name} {{(.*?)\n}}", declaration, re.DOTALL)
    (literals,) = re.findall(rf"\n  {field}: (.*);", body)
    assert f'"{status.value}"' in literals


@pytest.mark.django_db
@pytest.mark.parametrize("status", JobStatus)
def test_page_has_the_labels_of_job_stages_and_workers(client, status):
    job_with(status)
    html = text_of(client, page_of("job-1"))
    assert f'data-status="{status.value}"' in html
    assert f'data-field="job.status">{status.label}<' in html
    shown = {stage.label for stage in StageStatus}
    if status.is_final:
        shown = shown - {"Pending"} | {"Not run"}
    assert set(re.findall(r'data-field="stage.status">([^<]+)<', html)) == shown
    for worker in WorkerStatus:
        assert re.search(rf'data-worker="\d" data-status="{worker.value}"', html)
