"""Fixtures: the project in a real browser. Test modules load them with `pytest_plugins`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.chromium import DESKTOP, EXECUTABLES, FLAGS, RECORDER, OpenPage, find_chromium
from tests.support.live import LiveProject, LiveServer


# One per module, not per session: Playwright's synchronous interface keeps an event loop running
# in this thread, where neither Django's ORM nor asynchronous tests want one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None:
        missing = f"no Chromium here: install one of {', '.join(EXECUTABLES)}"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def site(sqlite_project: LiveProject) -> Iterator[LiveServer]:
    live = sqlite_project.serve("daphne")
    yield live
    live.process.terminate()
    live.process.wait(30)


@pytest.fixture
def open_page(browser: Browser, site: LiveServer) -> Iterator[OpenPage]:
    """`open_page("/jobs/x/")`, with options of a browser context. Errors in the console fail.

    `errors`: a part of each message that the test expects.
    """
    contexts, complaints, expected = [], [], []

    def complain(text: str) -> None:
        if not any(part in text for part in expected):
            complaints.append(text)

    def new_page(path: str = "", *, errors: tuple[str, ...] = (), **options: Any) -> Page:
        expected.extend(errors)
        context = browser.new_context(
            **({"viewport": DESKTOP, "base_url": site.url, "timezone_id": "UTC"} | options)
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: complain(str(error)))
        page.on("console", lambda message: message.type == "error" and complain(message.text))
        if options.get("java_script_enabled", True):
            page.add_init_script(RECORDER)
        if path:
            page.goto(path)
        return page

    yield new_page
    for context in contexts:
        context.close()
    assert not complaints
