"""The chart of chunks by page."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from ingestion_progress.pipeline.documents.page_chart import MAX_BARS, bar_edges, page_chart


def test_each_page_has_a_bar_and_a_row():
    chart = page_chart({1: 2, 3: 4})
    assert chart.rows == [("1", "2"), ("2", "0"), ("3", "4")]
    assert (chart.peak, chart.last) == ("at most 4", "3")
    tops = re.findall(r"M([\d.]+) 100V([\d.]+)H([\d.]+)V100Z", chart.path)
    assert tops == [("3.3", "50", "30"), ("70", "0", "96.7")]


def test_pages_without_chunks_at_the_end_keep_their_room():
    assert [count for _, count in page_chart({1: 5}, page_count=4).rows] == ["5", "0", "0", "0"]


@pytest.mark.parametrize(("counts", "page_count"), [({}, 0), ({}, 9), ({1: 7}, 0), ({1: 7}, 1)])
def test_one_page_and_no_chunk_have_no_chart(counts, page_count):
    assert page_chart(counts, page_count) is None


@pytest.mark.parametrize("pages", [2, MAX_BARS, MAX_BARS + 1, 100, 5000])
def test_chart_of_any_number_of_pages_is_bounded_and_loses_no_chunk(pages):
    chart = page_chart(dict.fromkeys(range(1, pages + 1), 20))
    assert len(chart.rows) == min(pages, MAX_BARS)
    assert sum(int(count.replace(",", "")) for _, count in chart.rows) == 20 * pages
    assert len(chart.path) < 3000
    edges = bar_edges(pages)
    assert (edges[0], edges[-1]) == (0, pages)
    assert max(b - a for a, b in pairwise(edges)) <= -(-pages // MAX_BARS)


def test_a_bar_of_several_pages_names_the_first_and_the_last():
    assert page_chart({1: 1, 5000: 1}).rows[-1] == ("4,917–5,000", "1")


def test_a_page_without_a_number_from_1_is_in_the_first_bar():
    assert page_chart({0: 3, 2: 1}).rows == [("1", "3"), ("2", "1")]
