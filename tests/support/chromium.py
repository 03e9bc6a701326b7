"""Chromium, the windows that it opens, and what is recorded in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.support.live import LiveProject

# The shell has no interface of its own: its pages cost half the CPU.
EXECUTABLES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1200, "height": 900}
PHONE = {"width": 360, "height": 740}

# Records for the tests: events of the element, announcements, layout shifts, violations.
RECORDER = """
window.recorded = {events: [], said: [], shifts: 0, violations: [], percents: []};
for (const type of ["progresschange", "statechange", "complete", "failure", "connectionchange"])
  document.addEventListener(type, (event) => {
    recorded.events.push([type, event.detail ?? null]);
    if (type === "progresschange") recorded.percents.push(event.detail.overall_progress_percent);
  });
document.addEventListener("securitypolicyviolation", (event) => {
  recorded.violations.push(event.blockedURI);
});
new MutationObserver((changes) => {
  for (const {target} of changes)
    if (target.closest?.("[role=status]") && target.textContent)
      recorded.said.push(target.textContent);
}).observe(document, {subtree: true, childList: true});
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) recorded.shifts += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""

OpenPage = Callable[..., Page]
# Of Tab, before it is clear that it leads nowhere.
MAX_STOPS = 60


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, EXECUTABLES)), None)


def run_to_end(project: LiveProject, source: str, *args: str) -> None:
    """Runs a script with Django set up in the project, and fails with what it printed."""
    process = project.python(source, *args)
    assert process.wait(60) == 0, project.log.read_text()[-4000:]


def has_horizontal_scroll(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


def tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Presses Tab until the element has the focus, as a person does."""
    expect(target).to_be_visible()
    for _ in range(MAX_STOPS):
        page.keyboard.press(key)
        if target.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"Tab does not reach {target}")
