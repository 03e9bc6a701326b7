"""The lines of jobs and stages on terminals of different widths."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ingestion_progress.management.terminal.bars import bars

STAGES = [
    (name, 100.0, "green", "completed", "82/82, 3 failed")
    for name in ("Parsing", "Extraction", "Linking of named entities")
]


def printed(width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(bars(STAGES, width))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_names_are_whole_beside_their_bars(width):
    text = printed(width)
    assert all(name in text for name, *_ in STAGES)
    assert text.count("82/82, 3 failed") == 3
    assert "━━━━━━━━━━━━━━━━" in text


def test_names_take_the_room_of_the_bars_on_a_narrow_terminal():
    lines = printed(40).splitlines()
    assert [line.split()[0] for line in lines] == ["Parsing", "Extraction", "Linking"]
    assert all("100.0% completed" in line and len(line) <= 40 for line in lines)
    assert "━" not in "".join(lines)
