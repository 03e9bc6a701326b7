"""The ES modules that are generated from the templates and the enums."""

from __future__ import annotations

import re

import pytest

from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.web import javascript
from ingestion_progress.web.presenters import METRIC_LABELS


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
