"""A German reader walks through the pages and their states, and reads no English."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.chromium import PHONE, OpenPage
from tests.support.german import english_in, english_of_page
from tests.support.live import LiveProject, LiveServer
from tests.support.simulated import simulated

pytest_plugins = ["tests.support.browser"]
pytestmark = [pytest.mark.browser, pytest.mark.once]

STATUSES = ("queued", "running", "succeeded", "failed", "cancelled", "lost")
IDS = {status: f"akte-{number}" for number, status in enumerate(STATUSES)}
ADMIN = "/admin/ingestion_progress"
# All names are German, or of no language. All other texts are sentences that the app stores.
SEED = """
import json
from datetime import timedelta
from django.contrib.auth import get_user_model, login
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.utils import timezone
from ingestion_progress.models import Batch, Job, JobAttempt, JobError, JobEvent, Stage, Worker
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.tracker.error_messages import pattern_of
from tests.support.page_jobs import job_with
now = timezone.now()
LATER = {"ruft": {"heartbeat_at": now - timedelta(seconds=12)},
    "stumm": {"heartbeat_at": now - timedelta(minutes=5), "updated_at": now - timedelta(minutes=5)},
    "still": {"updated_at": now - timedelta(minutes=9)},
    "abbruch": {"cancel_requested_at": now, "cancel_requested_by": "anna"},
    "dienst": {"waiting_for": "the model at llm:8000"}}
ERROR = "“Akte.pdf” is damaged: its parts cannot be read. Save or download it again."
LINES = ["Started", "Waiting for the vector store.", "Its encoding is not declared. It was read as "
    "UTF-8.", "Failed: " + ERROR, "Cancellation requested by anna", "Page 3 is damaged and was "
    "left out.", "Sheet “Kosten” is hidden and was left out."]
Batch.objects.create(id="mai", name="Mai")
jobs = [job_with(status, job_id=f"akte-{number}", batch="mai", document_name=f"Akte {number}.pdf",
    error=ERROR if status.is_final and status != "succeeded" else "", error_count=1234,
    failed_items=1234 if status.is_final else 0, attempt=2, owner_name="anna", event_count=7)
    for number, status in enumerate(JobStatus)]
jobs += [job_with(JobStatus.RUNNING, job_id=f"akte-{name}", document_name=f"Brief {name}.pdf",
    **fields) for name, fields in LATER.items()]
# No pass of the server finds them lost meanwhile.
Job.objects.running().exclude(pk__in=["akte-ruft", "akte-stumm"]).update(
    heartbeat_at=now + timedelta(hours=1))
Worker.objects.update(current_chunk="c-1")
for name in ("pending", "in_progress", "completed", "error", "skipped"):
    Stage.objects.filter(name=f"{name}_stage").update(name={"pending": "parsing",
        "in_progress": "chunking", "completed": "embedding", "error": "extraction",
        "skipped": "vlm"}[name])
JobEvent.objects.all().delete()
for job in jobs:
    for line in LINES:
        JobEvent.objects.create(job=job, attempt=1, level="warning", stage="parsing",
            item="page 3", message=line)
    JobAttempt.objects.create(job=job, number=1, status="failed", started_at=now,
        finished_at=now + timedelta(seconds=65), started_by="anna", failed_items=3,
        cancelled_by="a newer version of the document", error=ERROR)
    for number, text in enumerate([ERROR, "Page 3 is damaged and was left out."]):
        JobError.objects.create(job=job, attempt=2, stage="parsing", digest=str(number),
            message=pattern_of(text), count=1234, first_at=now - timedelta(seconds=9), last_at=now,
            examples=[{"item": "page 3", "message": text}],
            resolved_at=now if number else None, resolved_by="anna" if number else "")
request = HttpRequest()
request.session = SessionStore()
user = get_user_model().objects.create_superuser("anna")
login(request, user, "django.contrib.auth.backends.ModelBackend")
request.session.save()
print(json.dumps(request.session.session_key))
"""
# Texts that are seen, and names that are heard.
TEXTS = """() => {
  const found = [document.title];
  const roots = [document.body];
  for (const root of roots) {
    for (const each of root.querySelectorAll("*")) {
      if (each.shadowRoot) roots.push(each.shadowRoot);
      if (each.closest("script, style, code, [data-foreign]")) continue;
      for (const name of ["title", "aria-label", "aria-description", "placeholder", "alt"]) {
        found.push(each.getAttribute(name));
      }
      if (each.matches("input[type=submit], input[type=button]")) found.push(each.value);
      for (const node of each.childNodes) {
        if (node.nodeType === Node.TEXT_NODE) found.push(node.data);
      }
    }
  }
  return [...new Set(found.map((text) => text?.trim()).filter(Boolean))];
}"""
ENGLISH_FORMATS = re.compile(r"\b\d{1,3},\d{3}\b|\d ?[ap]\.?m\b|\b(Mar|May|Oct|Dec)\b")
PAGES = {
    "list": "/",
    "list of a batch": "/?batch=mai",
    "list by status": "/?status=failed",
    "list of a group": "/?group=attention",
    "sorted list": "/?sort=longest",
    "list without jobs": "/?q=zzz",
    "own jobs": "/?owner=me",
    "batches": "/batches/",
    **{f"job that is {status}": f"/jobs/{job_id}/" for status, job_id in IDS.items()},
    "job without a sign of life": "/jobs/akte-ruft/",
    "job that is probably lost": "/jobs/akte-stumm/",
    "job without progress": "/jobs/akte-still/",
    "job that is to stop": "/jobs/akte-abbruch/",
    "job that waits for a service": "/jobs/akte-dienst/",
    "no job": "/jobs/niemand/",
    "confirmed deletion": f"/jobs/{IDS['failed']}/?confirm=deletion",
    "confirmed cancellation": f"/jobs/{IDS['running']}/?confirm=cancellation",
    "search": "/search/",
    "search without hits": "/search/?q=zzz",
    "login": "/login/",
    "admin": "/admin/",
    "admin's list": f"{ADMIN}/job/",
    **{
        f"admin's job that is {each}": f"{ADMIN}/job/{job_id}/change/"
        for each, job_id in IDS.items()
    },
    "admin's job that waits for a service": f"{ADMIN}/job/akte-dienst/change/",
    "admin's job without a sign of life": f"{ADMIN}/job/akte-stumm/change/",
    "admin's deletion": f"{ADMIN}/job/{IDS['failed']}/delete/",
    "admin's history": f"{ADMIN}/job/{IDS['failed']}/history/",
    "admin's batches": f"{ADMIN}/batch/",
    "admin's batch": f"{ADMIN}/batch/mai/change/",
    "admin's documents": "/admin/ingestion_pipeline/document/",
}


@pytest.fixture(scope="module")
def sqlite_project(own_project: LiveProject) -> LiveProject:
    """Without the users and jobs of other tests, whose names are English."""
    return own_project


@pytest.fixture(scope="module")
def cookie(sqlite_project: LiveProject, site: LiveServer) -> dict[str, Any]:
    """Of a superuser's session, in a project with the seeded jobs."""
    return {"name": "sessionid", "value": str(sqlite_project.ask(SEED)), "url": site.url}


@pytest.fixture
def page(open_page: OpenPage, cookie: dict[str, Any]) -> Page:
    errors = ("404", "422")
    opened = open_page(locale="de-DE", errors=errors)
    opened.context.add_cookies([cookie])
    return opened


def english_on(page: Page) -> list[str]:
    texts = page.evaluate(TEXTS)
    assert texts
    return english_in(texts) + [text for text in texts if ENGLISH_FORMATS.search(text)]


def test_no_page_or_state_has_english_texts(page: Page):
    found = {}
    for name, path in PAGES.items():
        response = page.goto(path)
        assert response is not None
        assert response.status < 500, path
        if "data-connection" in page.content():
            page.wait_for_timeout(50)
        if english := english_on(page):
            found[name] = english
    assert not found


def test_no_page_without_scripts_has_english_texts(page: Page):
    found = {}
    for name, path in PAGES.items():
        html = page.request.get(path, headers={"Accept-Language": "de"}).text()
        assert '<html lang="de"' in html
        if english := english_of_page(html):
            found[name] = english
    assert not found


def act(page: Page, method: str, path: str, **fields: str) -> str:
    """What a reader sees after a form was sent."""
    headers = {"Accept": "text/html", "Accept-Language": "de", "Referer": page.url}
    page.goto("/")
    token = page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    form = fields | {"csrfmiddlewaretoken": token}
    return getattr(page.request, method)(path, form=form, headers=headers).text()


def test_answers_to_forms_have_no_english_texts(page: Page):
    ended, running = IDS["failed"], IDS["running"]
    selection = "/jobs/selection/"
    for path, fields in [
        (f"/jobs/{ended}/cancellation/", {}),
        (f"/jobs/{ended}/retry/", {}),
        (f"/jobs/{running}/retry/", {}),
        (selection, {"action": "delete", "job": ended}),
        (selection, {"action": "cancel"}),
    ]:
        assert english_of_page(act(page, "post", path, **fields)) == []


def test_refusals_of_a_browser_are_german_pages(page: Page):
    large = "a" * 20_000_000
    refused = page.request.post(
        "/jobs/selection/", data=large, headers={"Accept": "text/html", "Accept-Language": "de"}
    )
    assert refused.status == 413
    assert english_of_page(refused.text()) == []


def test_uploads_and_selections_have_no_english_texts(page: Page):
    page.goto("/")
    page.locator("input[type=file]").first.set_input_files(
        [
            {"name": "leer.txt", "mimeType": "text/plain", "buffer": b""},
            {"name": "Brief.txt", "mimeType": "text/plain", "buffer": b"Ein Brief."},
        ]
    )
    page.get_by_role("button", name="Hochladen", exact=True).click()
    expect(page.locator("body")).to_contain_text("„leer.txt“ ist leer.")
    assert english_on(page) == []
    page.get_by_role("checkbox").nth(1).check()
    assert english_on(page) == []


def test_live_job_on_a_phone_has_no_english_texts(open_page: OpenPage, sqlite_project: LiveProject):
    with simulated(sqlite_project, "--seconds=30") as job_id:
        page = open_page(f"/jobs/{job_id}/", locale="de-DE", viewport=PHONE)
        expect(page.locator("pipeline-progress")).to_have_attribute("data-connection", "live")
        names = re.compile(r"report|sample|\.pdf|chunk", re.IGNORECASE)
        assert [text for text in english_on(page) if not names.search(text)] == []
        width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0
