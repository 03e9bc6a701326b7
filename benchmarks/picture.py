"""The picture that the README shows: CPU per frame and frames per second, as ratios."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.candidates import CANDIDATES

Row: TypeAlias = tuple[str, float, bool]
"""Label, median ratio, and whether it is this project."""

WIDTH, LABEL_WIDTH, BAR_WIDTH, ROW, TOP = 860, 300, 400, 26, 64
# Legible on light and dark pages: the picture has no background.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600; font-size: 15px; fill: #24292f }
.ours { fill: #1a7f64 } .other { fill: #8c959f } .strong { font-weight: 600; fill: #24292f }
@media (prefers-color-scheme: dark) {
  text { fill: #9da7b3 } .title, .strong { fill: #e6edf3 }
  .ours { fill: #3fb68b } .other { fill: #6e7681 }
}
"""
PANELS = (
    ("paced", "cpu_us_per_frame", "CPU per frame, two a second to each client (less is better)"),
    ("full-speed", "frames_per_second", "Frames a second at full speed (more is better)"),
)


INGESTIONS = (
    ("guide", "seconds", "A manual of 134 pages, seconds (less is better)"),
    ("mixed", "seconds", "200 mixed documents, seconds (less is better)"),
)


def draw(folder: Path) -> str:
    """Draws the newest result of each kind in the folder. Raises FileNotFoundError without one."""
    panels = []
    for kind, path, title in PANELS:
        result = newest(folder, kind)
        heading = f"{title}, {result['clients']:,} clients, one core"
        panels.append((heading, ratios(result, path)))
    return _svg("This project beside others, as ratios to a bare event loop", panels)


def draw_ingestion(folder: Path) -> str:
    """The same of ingestion, as ratios to one worker of this project."""
    result = newest(folder, "ingestion")
    panels = [
        (
            title,
            [
                (label, figures[path]["ratio"], label.startswith("this project"))
                for label, figures in result["summary"][kind].items()
            ],
        )
        for kind, path, title in INGESTIONS
    ]
    return _svg("Ingestion beside LlamaIndex and Haystack, as ratios to one worker", panels)


def _svg(title: str, panels: Sequence[tuple[str, Sequence[Row]]]) -> str:
    parts, y = [], 0
    for heading, rows in panels:
        parts.append(_panel(heading, rows, y))
        y += TOP + ROW * len(rows)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 12}" role="img">'
    styled = [f"<title>{title}</title>", f"<style>{STYLE}</style>"]
    return "\n".join([head, *styled, *parts, "</svg>"]) + "\n"


def newest(folder: Path, kind: str) -> dict[str, Any]:
    found = sorted(folder.glob(f"????-??-??-{kind}.json"))
    if not found:
        raise FileNotFoundError(f"There is no result of {kind} in {folder}.")
    result: dict[str, Any] = json.loads(found[-1].read_text())
    return result


def ratios(result: dict[str, Any], path: str) -> list[Row]:
    """The ratios to the bare loop."""
    rows = []
    for candidate in CANDIDATES:
        figure = result["summary"].get(candidate.name, {}).get(path, {})
        if ratio := figure.get("to_bare"):
            rows.append((candidate.label, ratio["median"], candidate.is_ours))
    return rows


def _panel(title: str, rows: Sequence[Row], y: int) -> str:
    # A bar that is far longer than all others is cut, because the others would be too short.
    shown = sorted(ratio for _, ratio, _ in rows)
    longest = max((ratio for ratio in shown if ratio <= 15), default=1.0)
    lines = [f'<text class="title" x="12" y="{y + 36}">{escape(title)}</text>']
    for number, (label, ratio, is_ours) in enumerate(rows):
        top = y + TOP - 12 + number * ROW
        width = max(2.0, min(1.06, ratio / longest) * BAR_WIDTH)
        kind, text = ("ours", "strong") if is_ours else ("other", "")
        mark = "" if ratio <= longest else " (cut)"
        lines += [
            _text(text, LABEL_WIDTH, top, label, anchor="end"),
            _bar(kind, LABEL_WIDTH + 10, top + 2, width),
            _text(text, LABEL_WIDTH + 18 + width, top, f"{_times(ratio)}{mark}"),
        ]
    return "\n".join(lines)


def _bar(kind: str, x: float, y: float, width: float) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width:.1f}" height="16" rx="3"/>'


def _text(kind: str, x: float, top: float, words: str, *, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{top + 14}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'


def _times(ratio: float) -> str:
    return f"{ratio:.0f} ×" if ratio >= 10 else f"{ratio:.2f} ×"
