"""A German reader walks through the pages and their states, and reads no English."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.chromium import PHONE, OpenPage, has_horizontal_scroll
from tests.support.german import english_in, english_of_page
from tests.support.german_site import (
    DOCUMENTS,
    ENGLISH_FORMATS,
    IDS,
    LOG_IN,
    LOG_OUT,
    PAGES,
    PIPELINE,
    SEED,
    TEXTS,
)
from tests.support.live import LiveProject, LiveServer
from tests.support.simulated import simulated

pytest_plugins = ["tests.support.browser"]
pytestmark = [pytest.mark.browser, pytest.mark.once]


@pytest.fixture(scope="module")
def sqlite_project(own_project: LiveProject) -> LiveProject:
    """Without the users and jobs of other tests, whose names are English."""
    return own_project


@pytest.fixture(scope="module")
def site(sqlite_project: LiveProject) -> Iterator[LiveServer]:
    """It asks for a login, and notices soon when a session has ended."""
    live = sqlite_project.serve("daphne", PUBLIC="false", RECHECK_SECONDS="1")
    yield live
    live.process.terminate()
    live.process.wait(30)


def session(project: LiveProject, site: LiveServer, user: str = "anna") -> dict[str, Any]:
    """The cookie of a new session."""
    return {"name": "sessionid", "value": str(project.ask(LOG_IN, user)), "url": site.url}


@pytest.fixture(scope="module")
def cookie(sqlite_project: LiveProject, site: LiveServer) -> dict[str, Any]:
    """Of a superuser's session, in a project with the seeded jobs and documents."""
    sqlite_project.ask(SEED)
    sqlite_project.ask(DOCUMENTS)
    return session(sqlite_project, site)


@pytest.fixture
def page(open_page: OpenPage, cookie: dict[str, Any]) -> Page:
    errors = ("401", "404", "422")
    opened = open_page(locale="de-DE", errors=errors)
    opened.context.add_cookies([cookie])
    return opened


def english_on(page: Page) -> list[str]:
    texts = page.evaluate(TEXTS)
    assert texts
    return english_in(texts) + [text for text in texts if ENGLISH_FORMATS.search(text)]


def test_no_page_or_state_has_english_texts_or_is_too_wide_for_a_phone(page: Page):
    page.set_viewport_size(PHONE)
    found, wide = {}, []
    for name, path in PAGES.items():
        response = page.goto(path)
        assert response is not None
        assert response.status == (404 if name.startswith("no ") else 200), path
        if "data-connection" in page.content():
            page.wait_for_timeout(50)
        if english := english_on(page):
            found[name] = english
        if not path.startswith("/admin/") and has_horizontal_scroll(page):
            wide.append(name)
    assert (found, wide) == ({}, [])


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


def test_live_job_on_a_phone_has_no_english_texts(page: Page, sqlite_project: LiveProject):
    page.set_viewport_size(PHONE)
    with simulated(sqlite_project, "--seconds=30") as job_id:
        page.goto(f"/jobs/{job_id}/")
        expect(page.locator("pipeline-progress")).to_have_attribute("data-connection", "live")
        names = re.compile(r"report|sample|\.pdf|chunk", re.IGNORECASE)
        assert [text for text in english_on(page) if not names.search(text)] == []
        width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0


def test_result_of_a_job_has_no_english_texts(page: Page):
    page.goto("/jobs/bienen-neu/")
    expect(page.locator("#result .chunk").first).to_be_visible()
    assert english_on(page) == []
    box = page.get_by_role("searchbox", name="Im Dokument suchen")
    box.fill("Imkerei")
    box.press("Enter")
    expect(page.locator(".hit mark").first).to_have_text("Imkerei")
    expect(page.get_by_role("checkbox", name="Nur Bienen.md")).to_be_checked()
    assert english_on(page) == []


def test_replay_has_no_english_texts(page: Page):
    page.goto("/jobs/ende/")
    slider = page.get_by_role("slider", name="Zeitpunkt im Job")
    slider.focus()
    for key in ["Home", *["ArrowRight"] * 12]:
        page.keyboard.press(key)
    text = re.compile(r"^Nach 1\smin\s00\ss: 60,0\s%$")
    expect(slider).to_have_attribute("aria-valuetext", text)
    assert english_on(page) == []
    page.get_by_role("button", name="Wiedergabe").click()
    expect(page.get_by_role("button", name="Anhalten")).to_be_visible()
    assert english_on(page) == []
    page.get_by_role("button", name="Zurück zum Ende").click()
    expect(slider).to_have_attribute("aria-valuetext", "Das Ende des Jobs")


def test_actions_on_documents_have_no_english_texts(page: Page):
    assert english_of_page(act(page, "post", "/documents/brief/ingestion/")) == []
    fields = {"action": "delete_selected_documents", "_selected_action": "bienen"}
    asked = act(page, "post", f"{PIPELINE}/document/", **fields)
    assert "1 Dokument wird endgültig gelöscht" in asked
    assert english_of_page(asked) == []
    page.goto("/documents/weg/")
    page.get_by_role("button", name="Löschen").click()
    page.get_by_role("button", name="Dokument löschen").click()
    expect(page.locator("body")).to_contain_text("Weg.txt ist gelöscht.")
    assert english_on(page) == []


@pytest.mark.parametrize("path", ["/", "/batches/", f"/jobs/{IDS['running']}/"])
def test_page_of_an_ended_session_has_no_english_texts(
    open_page: OpenPage, sqlite_project: LiveProject, site: LiveServer, cookie: Any, path: str
):
    own = session(sqlite_project, site)
    page = open_page(locale="de-DE", errors=("401",))
    page.context.add_cookies([own])
    page.goto(path)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    sqlite_project.ask(LOG_OUT, own["value"])
    expect(page.get_by_text("Sie sind abgemeldet").first).to_be_visible(timeout=30_000)
    assert english_on(page) == []
    page.goto(path)
    expect(page.get_by_role("button", name="Anmelden")).to_be_visible()
    assert english_on(page) == []


def test_refused_logins_and_people_have_no_english_texts(
    open_page: OpenPage, sqlite_project: LiveProject, site: LiveServer, cookie: Any
):
    page = open_page("/search/", locale="de-DE", errors=("403",), java_script_enabled=False)
    page.get_by_label("Benutzername").fill("anna")
    page.get_by_label("Passwort").fill("falsch")
    page.get_by_role("button", name="Anmelden").click()
    assert english_of_page(page.content()) == []
    page.context.add_cookies([session(sqlite_project, site, "bert")])
    for path in ("/", "/search/", f"/jobs/{IDS['failed']}/", "/documents/bienen/"):
        response = page.goto(path)
        assert response is not None
        assert response.status == 403
        assert english_of_page(page.content()) == []
