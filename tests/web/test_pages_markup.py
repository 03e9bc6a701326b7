"""Rules of the markup and the style sheet: well-formed, accessible, nothing inline or external."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse

import ingestion_progress
from ingestion_progress.models.statuses import JobStatus
from tests.support.page_jobs import job_with, page_of, text_of

APP = Path(ingestion_progress.__file__).parent
CSS = (APP / "static/ingestion_progress/theme.css").read_text()
ROOT = APP.parent
TEMPLATES = [
    *(APP / "templates/ingestion_progress").rglob("*.html"),
    *(APP / "pipeline/templates/ingestion_pipeline").rglob("*.html"),
    *(ROOT / "templates").rglob("*.html"),
]
LIST = reverse("ingestion_progress:job_list")
VOID = {"meta", "link", "input", "br", "img", "hr"}


class Outline(HTMLParser):
    """The tags that are still open at the end, all ids, and the number of bars without a label."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.unlabelled_bars = 0
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.unlabelled_bars += tag == "progress" and not attributes.get("aria-label")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_template_has_nothing_inline_and_nothing_external(path):
    html = path.read_text()
    assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:|https?://", html)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", html))


def test_modules_and_style_sheet_load_nothing_external():
    folders = ("static/ingestion_progress", "pipeline/static/ingestion_pipeline")
    paths = [path for folder in folders for path in (APP / folder).glob("*.*s")]
    assert {"dom.js", "upload.js"} <= {path.name for path in paths}
    for path in paths:
        assert not re.search(r"https?://(?!www\.w3\.org)", path.read_text()), path.name


@pytest.mark.django_db
@pytest.mark.parametrize("status", JobStatus)
def test_pages_are_well_formed_with_unique_ids_and_labelled_bars(client, status):
    job_with(status, batch="b")
    for url in (LIST, f"{LIST}?batch=b", f"{LIST}?batch=/", page_of("job-1"), page_of("nobody")):
        page = Outline(client.get(url).content.decode())
        assert page.open == []
        assert len(page.ids) == len(set(page.ids))
        assert page.unlabelled_bars == 0


@pytest.mark.parametrize("template", ["404.html", "403.html", "403_csrf.html", "500.html"])
def test_error_page_renders_without_request_and_user(template):
    html = render_to_string(template)
    assert Outline(html).open == []
    assert 'class="message-page"' in html


def test_unknown_address_is_a_page_of_the_same_design(client):
    assert "Page not found" in text_of(client, "/nowhere/", status=404)


@pytest.mark.django_db
def test_expired_form_explains_that_nothing_was_changed():
    response = Client(enforce_csrf_checks=True).post(LIST)
    assert "Nothing was changed" in response.content.decode()


def tokens(mode: str, css: str = CSS.split("@media", 1)[0]) -> dict[str, str]:
    """The colours of the theme, by name."""
    pairs = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", css)
    return {name: light if mode == "light" else dark for name, light, dark in pairs}


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


TEXT_COLOURS = ["text", "muted", "accent", "running", "good", "warn", "bad", "lost", "neutral"]


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("background", ["page", "surface"])
@pytest.mark.parametrize("text", TEXT_COLOURS)
def test_text_has_the_contrast_of_level_aa(mode, background, text):
    colours = tokens(mode)
    assert contrast(colours[text], colours[background]) >= 4.5


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_bars_and_buttons_have_enough_contrast(mode):
    colours = tokens(mode)
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
    for tone in ("running", "good", "warn", "bad", "lost", "neutral"):
        assert contrast(colours[tone], colours["track"]) >= 3
    for background in ("surface", "page"):
        assert contrast(colours["outline"], colours[background]) >= 3


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_lines_have_more_contrast_for_those_who_want_it(mode):
    usual, more = tokens(mode), tokens(mode, CSS.split("prefers-contrast: more", 1)[1])
    assert contrast(more["muted"], usual["surface"]) >= 7
    assert contrast(more["line"], usual["surface"]) >= 3
