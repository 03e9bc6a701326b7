"""Paths of charts and lengths of axes; the JavaScript passes the same cases."""

from __future__ import annotations

import pytest

from ingestion_progress.web import charts, timeline
from ingestion_progress.web.stage_folds import folds
from tests.support.chart_cases import ALL


@pytest.mark.parametrize(("name", "arguments", "answer"), [(n, a, r) for n, _, a, r in ALL])
def test_chart(name, arguments, answer):
    if name == "axis_ms":
        *lengths, is_over = arguments
        assert timeline.axis_ms(*lengths, is_over=is_over) == answer
    elif name == "folds":
        stages, is_over = arguments
        assert folds(stages, is_over=is_over) == answer
    else:
        found = getattr(charts, name)(*arguments)
        assert found == (answer if isinstance(answer, str | int) else [*map(tuple_or_same, answer)])


def tuple_or_same(value):
    return tuple(value) if isinstance(value, list) else value
