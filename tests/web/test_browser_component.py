"""`<pipeline-progress>` in another page, and a plain EventSource without the app's code."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import translation
from playwright.sync_api import Page, expect

from ingestion_progress.web.formatting import NBSP
from tests.support import chart_cases
from tests.support.chromium import DESKTOP, PHONE, OpenPage
from tests.support.german import english_in
from tests.support.live import LiveProject, LiveServer
from tests.support.simulated import simulated
from tests.support.wording_cases import ALL, JAVASCRIPT, text_of

pytest_plugins = ["tests.support.browser"]
pytestmark = pytest.mark.browser

STATIC = "/static/ingestion_progress"
STREAM = "/api/v1/admin/ingestion/jobs/{}/progress"
EMPTY = """<!doctype html><html lang="%s"><meta charset="utf-8"><title>Elsewhere</title>
<meta name="viewport" content="width=device-width">
<script type="module" src="/static/ingestion_progress/pipeline-progress.js"></script>
<body><pipeline-progress src="%s" heading-level="1"></pipeline-progress></body></html>"""
# A page with rules for everything that the element contains, and with those of the admin.
STYLED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Styled</title>
<link rel="stylesheet" href="/static/admin/css/base.css">
<style>
:root { font-size: 62.5%%; color-scheme: %s }
body { margin: 3px; padding: 0; font: italic 700 1.6rem/2.5 serif; color: rebeccapurple;
  text-align: end; text-transform: uppercase; letter-spacing: 3px }
* { box-sizing: content-box }
h1, h2, h3, p, section, dl, dd, ol, li, progress, svg, button, header, span, bdi, time, details
  { margin: 17px; padding: 13px; border: 5px solid lime; background: pink; color: red }
h1, h2, h3 { font-size: 41px } a { color: lime } ol, li { list-style: square } svg { width: 50px }
.card, .columns, .bar, .badge, .stage, .connection, .timing { display: none !important }
</style>
<body><h1>Title</h1><h3>Part</h3><p>Text <a href="/">link</a> <code>code</code></p>
<ul><li>One</li></ul><button>Press</button><progress></progress><div id="here"></div></body>"""
PLAIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Plain</title>
<style>html { color-scheme: %s } body { margin: 3px }</style><div id="here"></div></html>"""
TEXTS_IN_JAVASCRIPT = """async ([cases, files]) => {
  const modules = await Promise.all(files.map((file) => import(file)));
  const functions = Object.assign({}, ...modules);
  return cases.map(([name, values]) => functions[name](...values));
}"""
# The styles and sizes of all elements within the one of the selector.
STYLES = """(selector) => {
  const found = document.querySelector(selector);
  return [...(found.shadowRoot ?? found).querySelectorAll("*")].map((element) => {
    const style = getComputedStyle(element);
    const {width, height} = element.getBoundingClientRect();
    const values = [...style].filter((name) => !/^--|-origin$/.test(name))
      .map((name) => `${name}: ${style.getPropertyValue(name)}`);
    return [`${element.localName}.${element.className.baseVal ?? element.className}`,
      Math.round(width), Math.round(height), ...values];
  });
}"""
ADD = """([src, attributes]) => {
  const element = Object.assign(document.createElement("pipeline-progress"), {src});
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  document.querySelector("#here").replaceChildren(element);
  return import("/static/ingestion_progress/pipeline-progress.js").then(() => null);
}"""

STATUSES = ("queued", "running", "succeeded", "failed", "cancelled", "lost")
SEED = """
from datetime import timedelta
from django.utils import timezone
from ingestion_progress.models import Stage
from ingestion_progress.models.statuses import JobStatus
from tests.support.page_jobs import job_with
for status in JobStatus:
    error = "" if status in {"queued", "running", "succeeded"} else "Something broke."
    # The server's rescue passes must not find it before the tests do.
    alive = {"heartbeat_at": timezone.now() + timedelta(hours=1)}
    shown = {"counters": {"tables": 4}, "error": error, "queue_depth": 7}
    job_with(status, job_id=f"same-{status}", **shown, **alive)
now = timezone.now()
forecast = {f"{name}_end_at": now + timedelta(minutes=minutes)
            for name, minutes in (("earliest", 80), ("likely", 110), ("latest", 170))}
for job_id, former in (("forecast", 5), ("guess", 0)):
    later = {"heartbeat_at": now + timedelta(hours=1), "updated_at": now + timedelta(hours=1)}
    job_with(JobStatus.RUNNING, job_id=f"same-{job_id}", former_jobs=former, **forecast, **later)
Stage.objects.filter(job_id="same-running", status="in_progress").update(total=0)
"""

# The client of the specification: a plain EventSource in a page of another origin.
SPECIFICATION = """<!doctype html><title>Plain</title><ol></ol><script>
const eventSource = new EventSource("%s");
const note = (text) => {
  const line = document.createElement("li");
  line.textContent = text;
  document.querySelector("ol").append(line);
};
eventSource.addEventListener("pipeline_progress", (event) => {
  const data = JSON.parse(event.data);
  note(`progress ${data.overall_progress_percent}`);
});
eventSource.addEventListener("complete", () => {
  note("complete");
  eventSource.close();
});
eventSource.addEventListener("error", (event) => {
  note(event.data ? `error ${event.data}` : "network error");
  eventSource.close();
});
</script>"""

# The markup without white space, parts of the page alone, server-side times, bars over time and
# fields that change with the clock.
MARKUP = """() => {
  const element = document.querySelector("pipeline-progress");
  const root = (element.shadowRoot?.querySelector(".job-view") ?? element).cloneNode(true);
  for (const time of root.querySelectorAll("time")) time.replaceWith("TIME");
  for (const svg of root.querySelectorAll("svg")) svg.replaceWith("SVG");
  for (const part of root.querySelectorAll("#history, #attention")) part.remove();
  for (const name of ["announcer", "field$=elapsed", "field$=duration", "field$=connection"])
    for (const moving of root.querySelectorAll(`[data-${name}]`)) moving.textContent = "";
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  for (const text of texts) {
    text.data = text.data.replace(/[ \\n]+/g, " ").trim();
    if (!text.data) text.remove();
  }
  for (const element of root.querySelectorAll("*"))
    for (const {name} of [...element.attributes].sort((a, b) => a.name < b.name ? -1 : 1)) {
      const value = element.getAttribute(name);
      element.removeAttribute(name);
      element.setAttribute(name, value);
    }
  root.normalize();
  return root.innerHTML.replaceAll("><", ">\\n<");
}"""


@pytest.fixture(scope="module", autouse=True)
def jobs(sqlite_project: LiveProject) -> None:
    sqlite_project.ask(SEED)


@pytest.fixture
def elsewhere() -> Iterator[ThreadingHTTPServer]:
    """A server on another port that responds with the bytes in `page`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(self.server.page)

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def open_empty(open_page: OpenPage, job_id: str, *, lang: str = "en", **options) -> Page:
    """A page of the same origin with an empty element."""
    page = open_page(**options)
    html = EMPTY % (lang, STREAM.format(job_id))
    page.route("**/elsewhere/", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto("/elsewhere/")
    return page


@pytest.mark.parametrize(
    ("status", "lang"),
    [*((status, "en") for status in STATUSES), ("running", "de"), ("lost", "de")],
)
def test_element_creates_the_markup_that_the_server_renders(
    open_page: OpenPage, status: str, lang: str
):
    alone = open_empty(open_page, f"same-{status}", lang=lang)
    expect(alone.locator("pipeline-progress")).to_have_attribute("data-status", status)
    served = open_page(f"/jobs/same-{status}/", java_script_enabled=False, locale=lang)
    deadline = time.monotonic() + 30  # the forecast is a later event than the state
    while (markup := alone.evaluate(MARKUP)) != (expected := served.evaluate(MARKUP)):
        if time.monotonic() > deadline:
            break
        alone.wait_for_timeout(50)
        served.reload()  # meanwhile the job may have stalled
    assert markup.splitlines() == expected.splitlines()


@pytest.mark.parametrize(("job", "reason"), [("forecast", ""), ("guess", " · No history yet")])
def test_element_and_page_show_the_same_range_and_why_it_is_a_guess(
    open_page: OpenPage, job: str, reason: str
):
    text = re.compile(rf"^about\s1\sh\s\d\d\smin left \(1–3\sh\){reason}$")
    alone = open_empty(open_page, f"same-{job}")
    served = open_page(f"/jobs/same-{job}/", java_script_enabled=False)
    for page in (alone, served):
        expect(page.locator('[data-field="job.remaining"]')).to_have_text(text)


def open_foreign(open_page: OpenPage, html: str, scheme: str, **options) -> Page:
    page = open_page(**options)
    html = html % scheme
    page.route("**/foreign/", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto("/foreign/")
    return page


def add_element(page: Page, job_id: str, **attributes: str) -> None:
    page.evaluate(ADD, [STREAM.format(job_id), attributes])
    expect(page.locator("pipeline-progress")).to_have_attribute("data-status", job_id[5:])
    expect(page.locator(".stage")).not_to_have_count(0)


@pytest.mark.parametrize(("scheme", "size"), [("light", DESKTOP), ("dark", PHONE)])
def test_element_and_the_page_around_it_do_not_style_each_other(
    open_page: OpenPage, scheme: str, size: dict[str, int]
):
    styled = open_foreign(open_page, STYLED, scheme, viewport=size)
    plain = open_foreign(open_page, PLAIN, scheme, viewport=size)
    before = styled.evaluate(STYLES, "html")
    for attributes in ({}, {"compact": ""}):
        for page in (styled, plain):
            add_element(page, "same-succeeded", **attributes)
        assert styled.evaluate(STYLES, "pipeline-progress") == plain.evaluate(
            STYLES, "pipeline-progress"
        )
    styled.evaluate("document.querySelector('pipeline-progress').remove()")
    assert styled.evaluate(STYLES, "html") == before


def test_element_has_the_theme_of_its_page_or_its_own(open_page: OpenPage):
    page = open_foreign(open_page, PLAIN, "light", color_scheme="dark")
    colours = []
    for theme in ("", "light", "dark", "auto"):
        add_element(page, "same-succeeded", theme=theme)
        card = page.locator(".overall")
        colours.append(card.evaluate("card => getComputedStyle(card).backgroundColor"))
    assert colours == ["rgb(255, 255, 255)"] * 2 + ["rgb(27, 30, 34)"] * 2


def test_page_changes_the_colours_and_the_parts_of_the_element_on_purpose(open_page: OpenPage):
    page = open_foreign(open_page, PLAIN, "light")
    add_element(page, "same-succeeded")
    page.add_style_tag(
        content="pipeline-progress { --surface: rgb(1, 2, 3); font-family: serif }"
        "pipeline-progress::part(title) { color: rgb(4, 5, 6) }"
    )
    card, title = page.locator(".overall"), page.locator(".job-title")
    for element, name, value in (
        (card, "backgroundColor", "rgb(1, 2, 3)"),
        (card, "fontFamily", "serif"),
        (title, "color", "rgb(4, 5, 6)"),
    ):
        assert element.evaluate("(each, name) => getComputedStyle(each)[name]", name) == value


def test_element_with_a_new_src_shows_the_other_job(open_page: OpenPage):
    page = open_empty(open_page, "same-failed")
    element = page.locator("pipeline-progress")
    expect(element).to_have_attribute("data-status", "failed")
    element.evaluate(f"element => {{ element.src = '{STREAM.format('same-succeeded')}' }}")
    expect(element).to_have_attribute("data-status", "succeeded")


def test_element_reports_a_missing_job(open_page: OpenPage):
    page = open_empty(open_page, "nobody")
    expect(page.get_by_text("This job does not exist.")).to_be_visible()
    page.wait_for_function("recorded.events.some(([type]) => type === 'failure')")
    failure = next(
        detail for type_, detail in page.evaluate("recorded.events") if type_ == "failure"
    )
    assert failure == {"message": "Job not found: nobody", "job_id": "nobody", "code": "not_found"}


def test_element_dispatches_an_event_for_everything_on_the_stream(
    open_page: OpenPage, sqlite_project: LiveProject
):
    with simulated(sqlite_project, "--seconds=2", "--stages=parsing,linking") as job_id:
        page = open_empty(open_page, job_id)
        page.wait_for_function("recorded.events.some(([type]) => type === 'complete')")
    types = [type_ for type_, _ in page.evaluate("recorded.events")]
    assert {"progresschange", "statechange", "complete", "connectionchange"} == set(types)
    expect(page.locator(".stage-name")).to_have_text(["Parsing", "Linking"])
    progress = page.evaluate("document.querySelector('pipeline-progress').progress")
    assert progress["overall_progress_percent"] == 100


def test_removed_element_closes_its_stream(open_page: OpenPage):
    page = open_empty(open_page, "same-running")
    element = page.locator("pipeline-progress")
    expect(element).to_have_attribute("data-connection", "live")
    page.evaluate("window.left = document.querySelector('pipeline-progress'); left.remove()")
    before = page.evaluate("recorded.events.length")
    page.wait_for_timeout(50)
    assert page.evaluate("recorded.events.length") == before


def texts_in_javascript(page: Page) -> list[str]:
    cases = [[javascript, arguments] for _, javascript, arguments, _ in ALL]
    files = [f"{STATIC}/{name}" for name in JAVASCRIPT]
    texts: list[str] = page.evaluate(TEXTS_IN_JAVASCRIPT, [cases, files])
    return texts


def test_values_have_the_same_texts_in_javascript(open_page: OpenPage):
    page = open_page("/")
    found = texts_in_javascript(page)
    assert [text.replace(NBSP, " ") for text in found] == [answer for *_, answer in ALL]


def test_element_may_have_a_language_of_its_own(open_page: OpenPage):
    page = open_empty(open_page, "same-running")
    element = page.locator("pipeline-progress")
    expect(element).to_contain_text("Stages")
    page.evaluate("""() => {
      const before = document.querySelector("pipeline-progress");
      const after = before.cloneNode();
      after.lang = "de-AT";
      before.replaceWith(after);
    }""")
    expect(element).to_contain_text("Schritte")
    expect(element).to_contain_text("1.200 / 4.800")
    expect(element).to_contain_text("Verbleibend")


def test_live_page_in_german_has_no_english_words(open_page: OpenPage):
    page = open_page("/jobs/same-running/", locale="de")
    expect(page.locator("pipeline-progress")).to_have_attribute("data-connection", "live")
    data = "bdi, code, time, [data-field='job.activity']"
    page.evaluate(
        "(data) => document.querySelectorAll(data).forEach((each) => each.remove())", data
    )
    assert english_in(page.locator("body").inner_text().splitlines()) == []


def test_values_have_the_same_texts_in_each_language(open_page: OpenPage):
    page = open_page("/", locale="de")
    found = texts_in_javascript(page)
    with translation.override("de"):
        assert found == [text_of(name, arguments) for name, _, arguments, _ in ALL]
    assert found != [answer for *_, answer in ALL]


def test_charts_and_axes_are_the_same_in_javascript(open_page: OpenPage):
    page = open_page("/")
    found = page.evaluate(
        f"""async (cases) => {{
          const charts = await import("{STATIC}/charts.js");
          const timeline = await import("{STATIC}/timeline.js");
          const folds = await import("{STATIC}/stage-folds.js");
          const all = {{ ...charts, ...timeline, ...folds }};
          return cases.map(([name, values]) => all[name](...values));
        }}""",
        [[javascript, arguments] for _, javascript, arguments, _ in chart_cases.ALL],
    )
    assert found == [answer for *_, answer in chart_cases.ALL]


def test_activity_is_the_same_in_javascript(open_page: OpenPage):
    page = open_page("/")
    cases = [[["Embedding", "Extraction"], True], [[], True], [[], False]]
    phrases = page.evaluate(
        f"""async (cases) => {{
          const {{ activity }} = await import("{STATIC}/stage-texts.js");
          return cases.map((values) => activity(...values));
        }}""",
        cases,
    )
    assert phrases == ["Now: Embedding, Extraction", "Between two stages", "Starting"]


def test_plain_event_source_of_another_origin_receives_a_job_to_its_end(
    open_page: OpenPage,
    site: LiveServer,
    sqlite_project: LiveProject,
    elsewhere: ThreadingHTTPServer,
):
    with simulated(sqlite_project, "--seconds=3") as job_id:
        elsewhere.page = (SPECIFICATION % (site.url + STREAM.format(job_id))).encode()
        page = open_page(f"http://127.0.0.1:{elsewhere.server_port}/")
        expect(page.locator("li").last).to_have_text("complete", timeout=20_000)
    lines = page.locator("li").all_inner_texts()
    percents = [float(line.removeprefix("progress ")) for line in lines[:-1]]
    assert percents == sorted(percents)
    assert percents[-1] == 100


def test_plain_event_source_of_another_origin_receives_the_servers_error(
    open_page: OpenPage, site: LiveServer, elsewhere: ThreadingHTTPServer
):
    elsewhere.page = (SPECIFICATION % (site.url + STREAM.format("job_123"))).encode()
    page = open_page(f"http://127.0.0.1:{elsewhere.server_port}/")
    expect(page.locator("li")).to_have_count(1)
    data = json.loads(page.locator("li").inner_text().removeprefix("error "))
    assert data["message"] == "Job not found: job_123"
    assert data["job_id"] == "job_123"


def test_shown_end_counts_down_and_changes_only_with_the_forecast(open_page: OpenPage):
    page = open_page("/")
    shown = page.evaluate(
        f"""async () => {{
          const {{ SteadyEnd }} = await import("{STATIC}/steady-end.js");
          let now = 0;
          performance.now = () => now;
          const end = new SteadyEnd();
          const shown = [];
          const forecasts = [
            [0, 0], [0, 100], [1, 103], [2, 92], [3, 60], [63, 4], [70, 0], [71, 2],
          ];
          for (const [at, likely] of forecasts) {{
            now = at * 1000;
            end.update(likely * 1000);
            shown.push(end.remainingMs / 1000);
          }}
          now += 5000;
          return [...shown, end.remainingMs];
        }}"""
    )
    assert shown == [0, 100, 99, 98, 60, 4, 0, 2, 0]
