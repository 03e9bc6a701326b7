"""Pages with the colours of the system (`forced-colors`): what is drawn stays visible."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.support.chromium import OpenPage
from tests.support.live import LiveProject

pytest_plugins = ["tests.support.browser"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("scheme", ["light", "dark"]),
    pytest.mark.usefixtures("jobs"),
]

SEED = """
import json
from datetime import timedelta
from django.utils import timezone
from ingestion_progress.models import JobAttempt
from ingestion_progress.models.statuses import AttemptStatus, JobStatus
from tests.support.page_jobs import job_with
from tests.support.timed_jobs import timed_job
now = timezone.now()
for status in JobStatus:
    job_with(status, job_id=f"state-{status}", batch="states")
stages = {"parsing": (0, 60), "embedding": (30, 100)}
samples = [
    [at, at / 1000, [at // 1000, 0], [100, 100], None, 2, 5] for at in range(0, 100_000, 5000)
]
job = timed_job("drawn", stages, started_at=now - timedelta(hours=1), seconds=100, samples=samples,
    attempt=2)
JobAttempt.objects.create(job=job, number=1, status=AttemptStatus.FAILED, finished_at=now,
    started_at=now - timedelta(seconds=9), stages=[{"name": "parsing", "status": "error",
    "span_ms": [0, 5000], "processed": 1, "total": 9, "failed": 1, "unit": "pages"}])
print(json.dumps(None))
"""
# Colours as the browser computes them, with those of the system by their names.
COLORS = """(element, names) => {
  const probe = element.ownerDocument.body.appendChild(document.createElement("i"));
  probe.style.forcedColorAdjust = "none";
  const style = getComputedStyle(element);
  const found = names.map((name) => {
    probe.style.color = style.getPropertyValue(name) || name;
    return getComputedStyle(probe).color.match(/[\\d.]+/g).map(Number);
  });
  probe.remove();
  return found;
}"""
# What has the focus, and whether its outline would be seen.
OUTLINE = """() => {
  const style = getComputedStyle(document.activeElement);
  return [document.activeElement.outerHTML.slice(0, 80), style.outlineStyle,
    parseFloat(style.outlineWidth)];
}"""
# WCAG 1.4.11 and 1.4.3.
SHAPE, TEXT = 3.0, 4.5


@pytest.fixture(scope="module")
def jobs(sqlite_project: LiveProject) -> None:
    sqlite_project.ask(SEED)


def luminance(color: list[float]) -> float:
    parts = [each / 255 for each in color[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: list[float], other: list[float]) -> float:
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


def contrast_to_page(element: Locator, name: str) -> float:
    return contrast(*element.evaluate(COLORS, [name, "Canvas"]))


def pixels(element: Locator, *shares: float) -> list[list[float]]:
    """The colours of an element at these shares of its width, in the middle of its height."""
    picture = Image.open(io.BytesIO(element.screenshot())).convert("RGB")
    row = picture.height // 2
    found: list[Any] = [picture.getpixel((int(picture.width * each), row)) for each in shares]
    return found


def opened(open_page: OpenPage, path: str, scheme: str) -> Page:
    return open_page(path, forced_colors="active", color_scheme=scheme)


def test_a_bar_shows_how_full_it_is(open_page: OpenPage, scheme: str):
    bar = opened(open_page, "/jobs/state-failed/", scheme).locator(".overall .bar")
    full, empty = pixels(bar, 0.2, 0.9)  # of some 43 percent
    assert contrast(full, empty) >= SHAPE
    assert contrast_to_page(bar, "border-top-color") >= SHAPE


def test_bars_over_time_and_charts_differ_from_the_page(open_page: OpenPage, scheme: str):
    page = opened(open_page, "/jobs/drawn/", scheme)
    page.locator(".attempt-timeline summary").click()
    expect(page.locator(".chart-area").first).to_be_visible()
    for selector, name in (
        (".stages .time-bar", "stroke"),
        (".stages .time-done", "fill"),
        (".attempt-timeline .time-bar", "stroke"),
        (".attempt-timeline .time-done", "fill"),
        (".stages .time-axis", "fill"),
        (".chart-area", "stroke"),
        (".legend-done", "border-top-color"),
    ):
        assert contrast_to_page(page.locator(selector).first, name) >= SHAPE, selector
    done, whole = page.locator(".stages .time-done").first, page.locator(".stages .time-bar").first
    fills = [each.evaluate(COLORS, ["fill"])[0] for each in (done, whole)]
    assert contrast(*fills) >= SHAPE


@pytest.mark.parametrize(
    "status", ["queued", "running", "succeeded", "failed", "cancelled", "lost"]
)
def test_state_is_text_and_a_symbol_that_are_visible(open_page: OpenPage, scheme: str, status: str):
    page = opened(open_page, f"/jobs/state-{status}/", scheme)
    assert contrast_to_page(page.locator(".badge"), "color") >= TEXT
    for symbol in page.locator(".badge .symbol, .stage .symbol").all():
        assert contrast_to_page(symbol, "border-top-color") >= SHAPE
    for facts in page.locator(".stage-status").all():
        assert contrast_to_page(facts, "color") >= TEXT


def test_a_bar_without_a_total_does_not_look_empty(open_page: OpenPage, scheme: str):
    page = opened(open_page, "/jobs/state-failed/", scheme)
    bar = page.locator(".overall .bar")
    bar.evaluate("(bar) => bar.removeAttribute('value')")
    seen = pixels(bar, *(each / 200 for each in range(100, 130)))
    assert max(contrast(one, seen[0]) for one in seen) >= SHAPE


def test_busy_and_idle_workers_look_different(open_page: OpenPage, scheme: str):
    page = opened(open_page, "/jobs/state-failed/", scheme)
    cells = page.locator(".worker-cell")
    idle, busy, failed = (
        cells.nth(each).evaluate(COLORS, ["background-color"])[0] for each in range(3)
    )
    page_color = cells.first.evaluate(COLORS, ["Canvas"])[0]
    assert contrast(busy, page_color) >= SHAPE
    assert contrast(failed, page_color) >= SHAPE
    assert busy != failed
    assert len(idle) == 4  # transparent, with a border
    assert contrast_to_page(cells.first, "border-top-color") >= SHAPE


def test_the_current_filter_is_marked(open_page: OpenPage, scheme: str):
    page = opened(open_page, "/?group=done", scheme)
    current = page.locator(".filters a[aria-current]").first
    assert "underline" in current.evaluate("(link) => getComputedStyle(link).textDecorationLine")


@pytest.mark.parametrize("path", ["/?batch=states", "/jobs/state-running/", "/search/", "/login/"])
def test_focus_is_visible_everywhere(open_page: OpenPage, scheme: str, path: str):
    page = opened(open_page, path, scheme)
    unseen, stops = [], 0
    while stops < 25:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        stops += 1
        name, style, width = page.evaluate(OUTLINE)
        if style == "none" or width < 1:
            unseen.append(name)
    assert stops > 1  # some pages begin with the focus in a form
    assert unseen == []
