"""Attempts and retries of a job on its page, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.chromium import OpenPage
from tests.support.live import LiveProject

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

# Their task is never queued: no worker runs, and rescue passes are far away.
RUNNING = """
import sys
from ingestion_progress.tracker.lifecycle import start_attempt
from ingestion_progress.tracker.plan import JobPlan
start_attempt(JobPlan("report.pdf", job_id=sys.argv[1], stages=["parsing"], task="a.task"))
"""
LOSE = """
import sys
from datetime import timedelta
from django.utils import timezone
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import AttemptStatus
from ingestion_progress.tracker.endings import follow_up
from ingestion_progress.tracker.database import locked_job, progress_transaction
with progress_transaction():
    follow_up(locked_job(sys.argv[1]), AttemptStatus.LOST, "Its worker died.")
Job.objects.filter(pk=sys.argv[1]).update(retry_at=timezone.now() + timedelta(seconds=30))
"""
WAITING = RUNNING + LOSE
ENDED = """
import sys
from ingestion_progress.tracker import fail_job, queue_job
queue_job("report.pdf", job_id=sys.argv[1], task="a.task")
fail_job(sys.argv[1], "The disk is full.")
"""
SUCCEEDING = """
import sys
from ingestion_progress import track
with track("report.pdf", job_id=sys.argv[1], stages=["parsing"]) as job:
    with job.stage("parsing", total=1) as stage:
        stage.advance()
"""


def job_in(page: Page) -> Locator:
    return page.locator("pipeline-progress")


def test_page_counts_down_to_the_next_attempt_and_lists_the_last(
    open_page: OpenPage, sqlite_project: LiveProject
):
    sqlite_project.ask(WAITING, "waiting")
    page = open_page("/jobs/waiting/")
    expect(job_in(page)).to_have_attribute("data-connection", "live", timeout=15_000)
    notice = page.locator(".notice:visible")
    expect(notice).to_have_text(
        re.compile(r"^Waiting to continue: attempt 2 of 3, due in 2\d\ss\. Its worker died\.$")
    )
    first = notice.inner_text()
    expect(notice).not_to_have_text(first)
    expect(page.locator(".attempts")).to_contain_text("Attempt 1 Lost")


def test_waiting_starts_and_ends_on_an_open_page(open_page: OpenPage, sqlite_project: LiveProject):
    sqlite_project.ask(RUNNING, "rescued")
    page = open_page("/jobs/rescued/")
    expect(job_in(page)).to_have_attribute("data-connection", "live", timeout=15_000)
    sqlite_project.ask(LOSE, "rescued")
    expect(page.locator(".notice:visible")).to_contain_text("attempt 2 of 3")
    expect(page.locator(".attempts")).to_contain_text("Its worker died.")
    sqlite_project.ask(SUCCEEDING, "rescued")
    expect(job_in(page)).to_have_attribute("data-status", "succeeded", timeout=15_000)
    types = [type_ for type_, _ in page.evaluate("recorded.events")]
    assert "failure" not in types
    expect(page.get_by_role("button", name="Retry", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Cancel job…")).to_have_count(0)


def test_job_can_be_retried_with_the_keyboard(open_page: OpenPage, sqlite_project: LiveProject):
    sqlite_project.ask(ENDED, "over")
    page = open_page("/jobs/over/")
    page.get_by_role("button", name="Retry", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".notice:visible")).to_contain_text("Waiting to start again: attempt 2")
    expect(job_in(page)).to_have_attribute("data-connection", "live", timeout=15_000)
    expect(page.get_by_role("button", name="Cancel job…")).to_be_visible()


def test_job_can_be_retried_without_javascript(open_page: OpenPage, sqlite_project: LiveProject):
    sqlite_project.ask(ENDED, "over-plain")
    page = open_page("/jobs/over-plain/", java_script_enabled=False)
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator(".notice:visible")).to_contain_text("attempt 2 of 4, due now.")
    expect(page.locator(".attempts")).to_contain_text("Attempt 1 Failed")


AWAITING = """
import sys
from ingestion_progress.tracker import attach
from ingestion_progress.testing import synchronous_tracking
with synchronous_tracking():
    with attach(sys.argv[1]).buffer.change() as changes:
        changes.waiting_for = sys.argv[2]
"""


def test_the_service_that_a_job_waits_for_appears_and_goes_on_open_pages(
    open_page: OpenPage, sqlite_project: LiveProject
):
    sqlite_project.ask(RUNNING, "served")
    page, listing = open_page("/jobs/served/"), open_page("/")
    row = listing.locator('[data-job="served"]')
    expect(job_in(page)).to_have_attribute("data-connection", "live", timeout=15_000)
    notice = page.locator(".notice:visible")
    sqlite_project.ask(AWAITING, "served", "the model at a.example.org")
    expect(notice).to_have_text("Waiting for the model at a.example.org.", timeout=15_000)
    expect(row).to_contain_text("Waiting for the model at a.example.org", timeout=15_000)
    expect(page.locator('[data-field="job.remaining"]')).to_have_text("Waiting for a service")
    sqlite_project.ask(AWAITING, "served", "")
    expect(notice).not_to_contain_text("the model", timeout=15_000)
    expect(row).not_to_contain_text("the model", timeout=15_000)
