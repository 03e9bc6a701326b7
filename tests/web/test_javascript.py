"""The ES modules that are generated from the templates and the enums."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.web import client_words, javascript
from ingestion_progress.web.job_parts import METRIC_LABELS

APP = client_words.APP


def test_markup_has_every_metric_and_no_values():
    markup = javascript.markup_module()
    for name, label in METRIC_LABELS.items():
        assert f'data-metric="{name}"><dt>{label}</dt>' in markup
    texts = set(re.findall(r'data-field="[\w.]+"[^>]*>([^<]*)<', markup))
    assert texts == {"", "0", "–"}


def test_markup_shows_no_notice():
    notices = re.findall(r"data-notice=.*", javascript.markup_module())
    assert notices
    assert all(" hidden" in notice for notice in notices)


def test_final_statuses_are_those_of_the_enum():
    (listed,) = re.findall(r"FINAL_STATUSES = new Set\(\[(.*)\]\)", javascript.labels_module())
    assert set(re.findall(r'"(\w+)"', listed)) == JobStatus.final()


@pytest.mark.parametrize(
    ("html", "literal"),
    [
        ("<p>\n\n  \n</p>  \n", "`\n<p>\n</p>`"),
        (r"<p>C:\new</p>", "`\n" + r"<p>C:\\new</p>`"),
        ("<code>`ls`</code>", "`\n<code>\\`ls\\`</code>`"),
        ("<p>${price} $ {x}</p>", "`\n<p>\\${price} $ {x}</p>`"),
    ],
)
def test_template_literal_is_the_markup_without_empty_lines(html, literal):
    assert javascript.template_literal(html) == literal


def test_states_of_a_connection_have_translations():
    source = (APP / "static/ingestion_progress/connection-state.js").read_text()
    table = source.partition("CONNECTION_LABELS = {")[2].partition("}")[0]
    assert set(re.findall(r'"(.+?)"', table)) == set(client_words.CONNECTION_TEXTS)


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ('gettext("Ended")', [("Ended", "")]),
        ('gettext(\n  "a \\u00a0 \\"b\\"",\n  { number })', [('a \u00a0 "b"', "")]),
        (
            'ngettext(\n  "%(number)s job",\n  "%(number)s jobs",\n  2)',
            [("%(number)s job", "%(number)s jobs")],
        ),
        ('pgettext("name", "VLM")', [("name\x04VLM", "")]),
        ('pgettext("name", words)', []),
        ("gettext(LABELS[status])", []),
    ],
)
def test_texts_of_a_module_are_those_of_its_calls(source, texts):
    assert list(client_words.texts_in(source)) == texts


def imports(module: Path) -> set[Path]:
    """As the storage of static files finds them, also in comments."""
    names = re.findall(r"""(?:from\s+"|import\(")(\.[^"]+\.js)"(?:\)|;)""", module.read_text())
    return {(module.parent / name).resolve() for name in names}


def test_modules_do_not_import_in_a_circle():
    """Their names could not have the hash of what they import."""
    left = {module: imports(module) for module in APP.glob("static/**/*.js")}
    while last := [module for module, needed in left.items() if not needed & left.keys()]:
        for module in last:
            del left[module]
    assert not left
