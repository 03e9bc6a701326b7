"""Jobs in the admin in a real browser: their rows are live, and as the server renders them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.chromium import OpenPage
from tests.support.live import LiveProject, LiveServer
from tests.support.simulated import simulated

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

LIST = "/admin/ingestion_progress/job/"
SESSION = """
import json
from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
users = get_user_model().objects
user = users.filter(username="operator").first() or users.create_superuser("operator")
request = HttpRequest()
request.session = SessionStore()
login(request, user, "django.contrib.auth.backends.ModelBackend")
request.session.save()
print(json.dumps([settings.SESSION_COOKIE_NAME, request.session.session_key]))
"""


QUEUE = """
import json, sys
from django.contrib.auth.models import Group
from ingestion_progress.tracker import queue_job
group, _ = Group.objects.get_or_create(name="Buyers")
job = queue_job(sys.argv[1], about=group)
print(json.dumps([group.pk, job.pk]))
"""
CANCEL = """
import json, sys
from ingestion_progress.tracker import request_cancellation
print(json.dumps(request_cancellation(sys.argv[1]).status))
"""


@pytest.fixture(scope="module")
def site(sqlite_project: LiveProject) -> Iterator[LiveServer]:
    settings = "tests.support.settings_about"
    live = sqlite_project.serve("daphne", DJANGO_SETTINGS_MODULE=settings)
    yield live
    live.process.terminate()
    live.process.wait(30)


@pytest.fixture
def admin_page(open_page: OpenPage, site: LiveServer, sqlite_project: LiveProject) -> Page:
    name, value = sqlite_project.ask(SESSION)
    page = open_page()
    page.context.add_cookies([{"name": name, "value": value, "url": site.url}])
    return page


def row_of(page: Page, job_id: str) -> Locator:
    return page.locator("tr", has=page.locator(f'[data-job="{job_id}"]'))


def texts_of(row: Locator) -> dict[str, str]:
    """What each cell shows, but for times, which move on or depend on the time zone."""
    return row.evaluate(
        """(row) => {
          const cells = [...row.querySelectorAll("td, th")].map((cell) => {
            const [bar, mark] = [".progress-bar progress", ".progress-mark"]
              .map((selector) => cell.querySelector(selector));
            const seen = [cell.innerText, bar?.value, mark?.className, mark?.title];
            return [cell.className, seen.join(" ")];
          });
          return Object.fromEntries(cells.filter(([name]) => name !== "field-live_times"));
        }"""
    )


def test_rows_follow_their_jobs_and_are_then_as_the_server_renders_them(
    admin_page: Page, sqlite_project: LiveProject
):
    with (
        simulated(sqlite_project, "--seconds=4") as ends,
        simulated(sqlite_project, "--seconds=600") as runs,
    ):
        admin_page.goto(LIST)
        expect(admin_page.locator("#progress-connection")).to_have_text("Live")
        ended = row_of(admin_page, ends)
        expect(ended.locator(".progress-mark")).to_have_text(
            re.compile("^Succeeded"), timeout=60_000
        )
        expect(ended.locator(".progress-bar span")).to_have_text("100%")
        expect(ended.locator("[data-cell=stages]")).to_be_empty()
        elapsed = row_of(admin_page, runs).locator("[data-cell=elapsed]")
        shown = str(elapsed.text_content())
        expect(elapsed).not_to_have_text(shown)
        expect(ended.locator("[data-cell=started] time")).to_have_attribute(
            "datetime", re.compile("T.*Z")
        )
        live = texts_of(ended)
    admin_page.reload()
    assert texts_of(row_of(admin_page, ends)) == live


LONG_NAMED = """
from django.utils import timezone
from ingestion_progress.models import Job, Stage
now = timezone.now()
job = Job.objects.create(
    id="long", document_name=f"{'Annual_Report_' * 4}2026.pdf", owner_name="anna" * 10,
    status="succeeded", failed_items=1234, error_count=12345, created_at=now, started_at=now,
    finished_at=now,
)
Stage.objects.bulk_create(
    Stage(job=job, name=f"{'stage' * 8}{n}", position=n, weight=1, status="in_progress")
    for n in range(9)
)
print("0")
"""


def test_list_fits_the_window_with_rows_of_two_lines(admin_page: Page, sqlite_project: LiveProject):
    sqlite_project.ask(LONG_NAMED)
    for width in (1280, 1920):
        admin_page.set_viewport_size({"width": width, "height": 900})
        admin_page.goto(LIST)
        row = row_of(admin_page, "long")
        name = row.locator(".progress-name")
        table = admin_page.locator("#changelist .results")
        for shown in (table, row.locator("[data-cell=started]"), name.locator("span").last):
            assert not is_cut(shown)
        assert row.evaluate("(row) => row.offsetHeight") < 60
        expect(name).to_have_attribute("title", re.compile("^Annual.*2026.pdf$"))


def is_cut(shown: Locator) -> bool:
    return shown.evaluate("(each) => each.scrollWidth > each.clientWidth")


def test_list_without_active_jobs_opens_no_stream(admin_page: Page):
    streams = []
    admin_page.on("request", lambda request: "progress?" in request.url and streams.append(request))
    admin_page.goto(f"{LIST}?status__exact=cancelled")
    expect(admin_page.locator("#progress-connection")).to_be_hidden()
    assert not streams


def test_jobs_about_an_object_are_live_on_its_page_and_new_ones_appear(
    admin_page: Page, sqlite_project: LiveProject
):
    group, first = sqlite_project.ask(QUEUE, "first.pdf")
    admin_page.goto(f"/own/auth/group/{group}/change/")
    expect(admin_page.locator("#progress-connection")).to_have_text("Live")
    admin_page.get_by_label("Name:").fill("Sellers")
    mark = row_of(admin_page, first).locator(".progress-mark")
    expect(mark).to_have_text("Queued")
    sqlite_project.ask(CANCEL, first)
    expect(mark).to_have_text("Cancelled")
    _, second = sqlite_project.ask(QUEUE, "second.pdf")
    expect(row_of(admin_page, second).locator(".progress-mark")).to_have_text("Queued")
    expect(mark).to_have_text("Cancelled")
    assert admin_page.get_by_label("Name:").input_value() == "Sellers", "the form stays"
