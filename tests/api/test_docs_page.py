"""The docs page in a real browser: it renders under the strict policy, from this server only."""

from __future__ import annotations

import pytest
from axe_playwright_python.base import AXE_SCRIPT

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser
# Not whether Swagger UI nests its buttons.
RUN = """async () => {
  const runOnly = ["color-contrast", "html-has-lang", "landmark-one-main", "region"];
  const {violations} = await axe.run({runOnly, resultTypes: ["violations"]});
  return violations.map(({id, nodes}) => `${id}: ${nodes.map(({html}) => html).join(" ")}`);
}"""


def test_docs_page_shows_every_operation_without_leaving_the_server(open_page, site):
    page = open_page()
    foreign = []
    page.on(
        "request",
        lambda request: request.url.startswith((site.url, "data:")) or foreign.append(request.url),
    )
    page.goto("/api/v1/docs")
    page.wait_for_selector(".opblock")
    document = page.request.get("/api/v1/openapi.json").json()
    operations = sum(len(methods) for methods in document["paths"].values())
    assert page.locator(".opblock").count() == operations

    page.locator(".opblock-summary", has_text="Watch one job live").click()
    stream = page.locator(".opblock.is-open")
    stream.locator("pre", has_text="new EventSource(").wait_for()
    text = stream.inner_text()
    for word in ("curl -N", "pipeline_progress", "job_state", "text/event-stream", "Last-Event-ID"):
        assert word in text
    assert foreign == []
    assert page.evaluate("recorded.violations") == []
    page.get_by_role("link", name="All jobs").click()
    page.wait_for_url("**/")


def test_docs_page_has_a_language_landmarks_and_enough_contrast(open_page):
    page = open_page("/api/v1/docs", bypass_csp=True)  # axe-core changes styles
    page.wait_for_selector(".opblock")
    page.evaluate(AXE_SCRIPT)
    assert page.evaluate(RUN) == []
