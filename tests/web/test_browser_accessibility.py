"""axe-core, an accessibility checker, finds no fault on any page, in both themes and two sizes."""

from __future__ import annotations

import pytest
from axe_playwright_python.base import AXE_SCRIPT

from tests.support.chromium import DESKTOP, PHONE, OpenPage
from tests.support.documents import EXAMPLES
from tests.support.live import LiveProject, LiveServer
from tests.web.test_browser_admin import SESSION

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

SEED = """
from ingestion_progress.models.statuses import JobStatus
from tests.support.page_jobs import job_with
for status in JobStatus:
    job_with(status, job_id=f"axe-{status}", error="No text.", batch="axe", failed_items=2)
"""
STATUSES = ("queued", "running", "succeeded", "failed", "cancelled", "lost")
PAGES = (
    *(f"/jobs/axe-{status}/" for status in STATUSES),
    *("/jobs/axe-document/", "/jobs/axe-document/result/", "/jobs/nobody/"),
    *("/", "/batches/", "/?status=lost", "/?batch=axe", "/?batch=none"),
    *("/search/", "/search/?q=redis", "/search/?q=qqqqzzzz"),
    *("/login/", "/admin/ingestion_progress/job/axe-failed/change/"),
    "/admin/ingestion_progress/job/",
)
# Without what is Django's own in its admin.
RUN = """async () => {
  const options = {resultTypes: ["violations"]};
  const exclude = [[".breadcrumbs"], ["#changelist-search"]];
  const {violations} = await axe.run({exclude}, options);
  return violations.map(({id, nodes}) => `${id}: ${nodes.map(({html}) => html).join(" ")}`);
}"""


@pytest.fixture(scope="module", autouse=True)
def jobs(sqlite_project: LiveProject) -> None:
    document = EXAMPLES / "redis-readme.md"
    sqlite_project.manage("ingest", "--job-id", "axe-document", str(document), timeout=120)
    seeded = sqlite_project.python(SEED)
    assert seeded.wait(60) == 0, sqlite_project.log.read_text()[-4000:]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["wide", "narrow"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_fault(
    open_page: OpenPage, site: LiveServer, sqlite_project: LiveProject, theme: str, size
):
    name, value = sqlite_project.ask(SESSION)
    # Past the Content-Security-Policy: axe-core changes styles.
    page = open_page(errors=("404",), color_scheme=theme, viewport=size, bypass_csp=True)
    page.context.add_cookies([{"name": name, "value": value, "url": site.url}])
    faults = {}
    for path in PAGES:
        page.goto(path)
        page.evaluate(AXE_SCRIPT)
        if found := page.evaluate(RUN):
            faults[path] = found
    assert faults == {}
