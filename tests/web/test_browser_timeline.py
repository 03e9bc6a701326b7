"""The timeline, the charts and the replay of a job's page in a real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.chromium import PHONE, OpenPage, has_horizontal_scroll
from tests.support.live import LiveProject
from tests.support.simulated import simulated

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

SEED = """
from datetime import timedelta
from django.utils import timezone
from ingestion_progress.models import Worker
from tests.support.timed_jobs import timed_job
now = timezone.now()
hour_ago = now - timedelta(hours=1)
alive = {"heartbeat_at": now + timedelta(hours=1), "updated_at": now}
stages = {"parsing": (0, 20), "embedding": (10, 70), "extraction": (50, 100)}
samples = [
    [second * 1000, second * 0.99, [min(100, second * 5),
     min(100, max(0, round((second - 10) / 0.6))), max(0, 2 * (second - 50))],
     [100] * 3, None, 2, 9]
    for second in range(0, 100, 5)
]
timed_job("former", stages, started_at=hour_ago, seconds=100)
timed_job("ended", stages, started_at=now - timedelta(minutes=9), seconds=100, samples=samples,
          pool_size=3, metadata={})
many = {f"stage {n}": (n, n + 2) if n < 18 else (n, None) if n == 18 else (None, None)
        for n in range(40)}
job = timed_job("many", many, started_at=now - timedelta(seconds=60), pool_size=200, **alive)
timed_job("many-failed", many, started_at=hour_ago, seconds=60, status="failed", error="No text.")
Worker.objects.bulk_create(
    Worker(job=job, number=n, status="processing" if n % 3 else "idle", current_chunk=f"c-{n}")
    for n in range(1, 201)
)
timed_job("thirteen", {f"s{n}": (n, n + 2) for n in range(13)}, started_at=hour_ago, seconds=20)
samples = [[each * 1000, each * 2.5, [min(100, max(0, each - n) * 50) for n in range(40)],
            [100] * 40, None, 1, 1] for each in range(0, 40, 4)]
timed_job("many-ended", {f"stage {n}": (n + 1, n + 2 + n % 5) for n in range(40)},
          started_at=hour_ago, seconds=60, samples=samples)
ending = {f"stage {n}": (n, n + 1 + n % 3) if n < 17 else (17, None) for n in range(18)}
timed_job("former-ending", ending, started_at=hour_ago, seconds=40)
timed_job("ending", ending, started_at=now - timedelta(seconds=30), **alive)
words = "Annual_Report_" + "W" * 46
hostile = {words: (0, 9), "\u0645\u0631\u062d\u0644\u0629": (5, None),
           "\U0001f984 \u202eback": (None, None)}
job = timed_job("hostile", hostile, started_at=now - timedelta(seconds=60),
                document_name=words + ".pdf", **alive)
job.stages.update(unit="W" * 32)
"""
END = """
from django.utils import timezone
from ingestion_progress.models import Job
now = timezone.now()
job = Job.objects.get(pk="ending")
job.stages.filter(finished_at=None).update(finished_at=now, status="completed", processed=100)
Job.objects.filter(pk="ending").update(
    status="succeeded", finished_at=now, updated_at=now, revision=job.revision + 1)
print("null")
"""
WIDTHS = """(kind) => [...document.querySelectorAll(`.stage .${kind}`)].map((bar) =>
  [parseFloat(bar.getAttribute("x")), parseFloat(bar.getAttribute("width"))])"""
# Of all bars, in milliseconds: the axis may become longer.
LENGTH = """() => [...document.querySelectorAll(".stage .time-bar")].reduce((sum, bar) => sum
  + parseFloat(bar.getAttribute("width")), 0)
  * Number(document.querySelector(".time-axis").getAttribute("data-axis"))"""
# What the page shows of a job, without what belongs to the browser.
SHOWN = """() => document.querySelector("pipeline-progress").innerHTML
  .replace(/<section class="replay".*?<[/]section>/s, "")"""


@pytest.fixture(scope="module", autouse=True)
def jobs(sqlite_project: LiveProject) -> None:
    sqlite_project.ask(SEED + "\nprint('null')")


def bars(page: Page, kind: str = "time-bar") -> list[list[float]]:
    """Start and length of each stage's bar in percent of the axis."""
    return page.evaluate(WIDTHS, kind)


def wait_for(page: Page, condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert condition()


def open_live(open_page: OpenPage, job_id: str, **options: Any) -> Page:
    page = open_page(f"/jobs/{job_id}/", **options)
    element = page.locator("pipeline-progress")
    expect(element).to_have_attribute("data-connection", "live", timeout=15_000)
    return page


def move(page: Page, key: str, times: int = 1) -> None:
    """Presses a key on the slider of the replay."""
    page.get_by_role("slider", name="Moment of the job").focus()
    for _ in range(times):
        page.keyboard.press(key)


def test_bars_grow_while_the_job_runs_and_overlap_as_they_did(
    open_page: OpenPage, sqlite_project: LiveProject
):
    with simulated(sqlite_project, "--seconds=12") as job_id:
        page = open_live(open_page, job_id)
        wait_for(page, lambda: page.evaluate(LENGTH) > 0)
        before = page.evaluate(LENGTH)
        wait_for(page, lambda: page.evaluate(LENGTH) > before)
        element = page.locator("pipeline-progress")
        expect(element).to_have_attribute("data-status", "succeeded", timeout=60_000)
        # Only the page that is rendered then has the stages that ran between two updates.
        expect(page.locator('#over-time [data-chart="throughput"]')).to_be_visible()
        wait_for(page, lambda: all(width > 0 for _, width in bars(page)))
        live, speeds = bars(page), page.locator(".stage-rate").all_inner_texts()
    page.reload()
    for shown, stored in zip(live, bars(page), strict=True):
        assert shown == pytest.approx(stored, abs=10)  # the stream is half a second behind
    assert all(re.fullmatch(r"[\d.,]+ per\s(s|min)", each) for each in speeds)
    assert page.evaluate("recorded.violations") == []


def test_usual_run_stays_beside_the_bars_of_the_live_page(open_page: OpenPage):
    page = open_page("/jobs/ended/")
    expect(page.get_by_text("Usually: of the last such job")).to_be_visible()
    expect(page.locator(".timing-note")).to_have_text(re.compile(r"^then usual 1\smin\s40\ss$"))
    assert bars(page) == bars(page, "time-usual") == [[0, 20], [10, 60], [50, 50]]


def test_replay_shows_past_moments_and_the_end_again_with_the_keyboard(open_page: OpenPage):
    page = open_page("/jobs/ended/")
    expect(page.get_by_role("slider", name="Moment of the job")).to_be_visible()
    end = page.evaluate(SHOWN)

    move(page, "Home")
    expect(page.locator(".overall-percent")).to_have_text("0%")
    expect(page.locator(".stage[data-status=pending]")).to_have_count(2)
    move(page, "ArrowRight", 12)
    expect(page.locator(".overall-percent")).to_have_text("59.4%")
    expect(page.locator('[data-field="job.elapsed"]')).to_have_text(re.compile(r"1\smin\s00\ss"))
    expect(page.locator(".stage-detail")).to_have_text(
        ["100 pages", "83 of 100 pages", "20 of 100 pages"]
    )
    expect(page.locator(".stage-percent")).to_have_text(["100%", "83%", "20%"])
    assert bars(page) == [[0, 20], [10, 50], [50, 10]]
    expect(page.get_by_text("Succeeded", exact=True)).to_be_hidden()  # not at that moment
    text = re.compile(r"^After 1\smin\s00\ss: 59\.4%$")
    slider = page.get_by_role("slider", name="Moment of the job")
    expect(slider).to_have_attribute("aria-valuetext", text)
    expect(page.locator('[data-chart="busy"] .chart-cursor')).to_have_attribute("x1", "60")

    page.get_by_role("button", name="Back to the end").click()
    expect(page.locator(".overall-percent")).to_have_text("100%")
    expect(slider).to_be_focused()
    assert page.evaluate(SHOWN) == end
    move(page, "Home")
    move(page, "End")
    expect(page.locator(".overall-percent")).to_have_text("100%")
    assert page.evaluate(SHOWN) == end


def test_replay_plays_to_the_end_and_can_be_paused(open_page: OpenPage):
    page = open_page()
    page.clock.install()
    page.goto("/jobs/ended/")
    page.get_by_role("button", name="Replay").click()
    expect(page.locator(".overall-percent")).to_have_text("0%")
    page.clock.run_for(2_000)
    page.get_by_role("button", name="Pause").click()
    slider = page.get_by_role("slider", name="Moment of the job")
    paused = slider.input_value()
    assert 0 < int(paused) < 20
    page.clock.run_for(2_000)
    assert slider.input_value() == paused
    page.get_by_role("button", name="Replay").click()
    page.clock.run_for(20_000)
    expect(page.locator(".overall-percent")).to_have_text("100%")
    expect(page.get_by_role("button", name="Replay")).to_be_visible()


def test_replay_that_cannot_read_the_samples_says_so_and_tries_again(open_page: OpenPage):
    page = open_page(errors=("Failed to load resource",))
    page.route("**/samples", lambda route: route.fulfill(status=503), times=1)
    page.goto("/jobs/ended/")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_text("The samples could not be read.")).to_be_visible()
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("button", name="Back to the end")).to_be_visible()


@pytest.mark.parametrize("hours", [-2, 2])
def test_times_are_right_in_a_browser_with_a_wrong_clock(open_page: OpenPage, hours: int):
    page = open_page()
    page.add_init_script(f"const right = Date.now; Date.now = () => right() + {hours} * 3_600_000")
    page.goto("/jobs/many-failed/")
    expect(page.locator("time[data-age]").first).to_have_text(re.compile(r"^1\sh ago$"))
    page.goto("/jobs/many/")
    expect(page.locator("pipeline-progress")).to_have_attribute("data-connection", "live")
    elapsed = page.locator("[data-field='job.elapsed']").first
    expect(elapsed).to_have_text(re.compile(r"^\d+\smin \d+\ss$|^\d+\smin\s\d+\ss$"))


def test_running_job_offers_no_replay(open_page: OpenPage):
    page = open_live(open_page, "many")
    expect(page.locator("#replay")).to_be_hidden()


def test_without_javascript_the_timeline_and_its_tables_are_there(open_page: OpenPage):
    page = open_page("/jobs/ended/", java_script_enabled=False)
    expect(page.locator("#replay")).to_be_hidden()
    page.get_by_text("As tables").click()
    stages = page.get_by_role("table", name="Stages")
    expect(stages.get_by_role("row", name="Embedding")).to_contain_text(
        re.compile(r"1\smin\s00\ss")
    )
    counts = page.get_by_role("table", name="Counts over time")
    expect(counts.get_by_role("row")).to_have_count(21)
    assert page.locator(".time-done").first.bounding_box()["width"] > 50


def test_done_and_pending_stages_of_many_are_folded(open_page: OpenPage):
    page = open_live(open_page, "many")
    shown = page.locator(".stage:visible")
    expect(shown).to_have_count(1)
    page.get_by_label("Show 18 done").check()
    expect(shown).to_have_count(19)
    page.get_by_label("Show 21 not started").check()
    expect(shown).to_have_count(40)


def test_ended_job_of_many_stages_shows_the_longest_and_the_rest_on_demand(open_page: OpenPage):
    page = open_page("/jobs/many-failed/", viewport=PHONE)
    expect(page.locator(".stage:visible")).to_have_count(13)
    assert page.evaluate("document.body.scrollHeight") < 4500
    page.get_by_label("Show 6 shorter").check()
    expect(page.locator(".stage:visible")).to_have_count(19)
    page.get_by_label("Show 21 not started").check()
    expect(page.locator(".stage:visible")).to_have_count(40)


def test_stages_are_not_folded_where_that_saves_little(open_page: OpenPage):
    page = open_page("/jobs/thirteen/", viewport=PHONE)
    expect(page.locator(".stage:visible")).to_have_count(13)
    expect(page.locator(".stage-folds label:visible")).to_have_count(0)


def test_job_that_ends_unfolds_its_longest_stages_and_says_what_was_usual(
    open_page: OpenPage, sqlite_project: LiveProject
):
    page = open_live(open_page, "ending")
    expect(page.locator(".stage:visible")).to_have_count(1)
    usual = page.locator(".timing-note")
    expect(usual).to_have_text(re.compile(r"^usually 40\ss$"))
    sqlite_project.ask(END)
    expect(page.locator(".stage:visible")).to_have_count(12)
    expect(usual).to_have_text(re.compile(r"^then usual 40\ss$"))
    expect(page.get_by_label("Show 6 shorter")).to_be_visible()
    page.reload()
    expect(page.locator(".stage:visible")).to_have_count(12)


def test_replay_keeps_the_shown_stages(open_page: OpenPage):
    page = open_page("/jobs/many-ended/")
    shown = page.locator(".stage:visible")
    expect(shown).to_have_count(12)
    page.get_by_role("slider", name="Moment").press("Home")
    expect(page.get_by_role("button", name="Back to the end")).to_be_visible()
    expect(shown).to_have_count(12)
    expect(shown.first).to_contain_text("Pending")


def test_many_workers_are_a_strip_with_tooltips_and_a_folded_list(open_page: OpenPage):
    page = open_live(open_page, "many")
    cells = page.locator(".worker-cell")
    expect(cells).to_have_count(200)
    expect(cells.nth(6)).to_have_attribute("title", "Worker 7: c-7")
    expect(cells.nth(8)).to_have_attribute("title", "Worker 9: Idle")
    expect(page.locator(".worker").first).to_be_hidden()
    page.get_by_text("Worker by worker").click()
    expect(page.locator(".worker:visible")).to_have_count(200)
    strip = page.locator(".worker-strip").bounding_box()
    assert strip["height"] < 200


@pytest.mark.parametrize("width", [320, 1920])
@pytest.mark.parametrize("job_id", ["hostile", "many", "many-ended", "ended"])
def test_page_fits_into_any_width(open_page: OpenPage, width: int, job_id: str):
    page = open_page(f"/jobs/{job_id}/", viewport={"width": width, "height": 900})
    page.get_by_text("As tables").click()
    assert not has_horizontal_scroll(page)
    axis = page.locator(".time-axis").bounding_box()
    track = page.locator(".stage-time:visible").first.bounding_box()
    assert axis["x"] == pytest.approx(track["x"], abs=1)
    assert axis["width"] == pytest.approx(track["width"], abs=1)
    job, log = page.locator("pipeline-progress").bounding_box(), page.locator("#log").bounding_box()
    assert (log["x"] > job["x"] + job["width"]) == (width == 1920)


def test_printed_page_shows_all_stages_and_no_controls(open_page: OpenPage):
    page = open_live(open_page, "many")
    page.emulate_media(media="print")
    expect(page.locator(".stage:visible")).to_have_count(40)
    for control in (".stage-folds", ".site-header", ".toolbar", ".connection", "button:visible"):
        expect(page.locator(control).and_(page.locator(":visible"))).to_have_count(0)
