"""Medians with their spread, and ratios to the bare loop and the best peer of the same round."""

from __future__ import annotations

import statistics
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.candidates import BARE, PEERS
from benchmarks.candidates import BY_NAME as CANDIDATES
from benchmarks.kinds import Kind

# The results file has the complete error, which may be the end of a log.
REASON_WIDTH = 100
Rounds = Sequence[Mapping[str, dict[str, Any]]]
"""For each round, what was measured of each candidate, by its name."""


def value(result: Any, path: str) -> float | None:
    """The number at a path in a result, such as `age_ms.p99`; None if there is none."""
    for step in path.split("."):
        if isinstance(result, list):
            result = result[int(step)] if int(step) < len(result) else None
        else:
            result = result.get(step) if isinstance(result, dict) else None
    return None if result is None else float(result)


def spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    low, middle, high = min(values), statistics.median(values), max(values)
    return {"median": round(middle, 3), "min": round(low, 3), "max": round(high, 3)}


def summary(kind: Kind, rounds: Rounds) -> dict[str, dict[str, Any]]:
    """By candidate and path: `value` and, if they are meaningful, `to_bare` and `times_better`."""
    found: dict[str, dict[str, Any]] = {}
    for name in kind.candidates:
        results = [each[name] for each in rounds if name in each]
        if not results:
            continue
        found[name] = {}
        for _, path, has_ratio in kind.figures:
            values = [number for each in results if (number := value(each, path)) is not None]
            figure: dict[str, Any] = {"value": spread(values)}
            if has_ratio:
                figure["to_bare"] = spread(_ratios(rounds, name, path))
            if path == kind.compared_by and CANDIDATES[name].is_ours:
                figure["times_better"] = spread(_times_better(kind, rounds, name))
            found[name][path] = figure
    return found


def _ratios(rounds: Rounds, name: str, path: str) -> list[float]:
    ratios = []
    for results in rounds:
        own, bare = value(results.get(name), path), value(results.get(BARE.name), path)
        if own is not None and bare:
            ratios.append(own / bare)
    return ratios


def _times_better(kind: Kind, rounds: Rounds, name: str) -> list[float]:
    """How many times better than the best peer, in each round that has both."""
    found = []
    for results in rounds:
        own = value(results.get(name), kind.compared_by)
        peers = [figure for peer in PEERS if (figure := value(results.get(peer), kind.compared_by))]
        if own and peers:
            found.append(own / max(peers) if kind.is_more_better else min(peers) / own)
    return found


def table(kind: Kind, result: Mapping[str, Any]) -> str:
    """Lines of text: the median, its ratio to the bare loop, and the ratio's range.

    Below: the comparison with the peers, and the candidates that failed in a round.
    """
    rows = [["", *(heading for heading, _, _ in kind.figures)]]
    for name, figures in result["summary"].items():
        cells = [_cell(figures[path]) for _, path, _ in kind.figures]
        rows.append([CANDIDATES[name].label, *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines += [*_comparison(kind, result["summary"]), *_gaps(result)]
    return "\n".join([f"── {kind.name}: {kind.title}", *lines])


def _comparison(kind: Kind, summed: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line, if this project and a peer were measured in the same round."""
    found = [
        f"{CANDIDATES[name].server} {_ratio(times)}"
        for name, figures in summed.items()
        if (times := figures.get(kind.compared_by, {}).get("times_better"))
    ]
    heading = [heading for heading, path, _ in kind.figures if path == kind.compared_by]
    return [f"{heading[0]}, times better than the best peer: {', '.join(found)}"] if found else []


def _gaps(result: Mapping[str, Any]) -> list[str]:
    """A line for each candidate that failed in a round, with the reasons."""
    rounds, reasons = result["rounds"], defaultdict(list)
    for failure in result["failures"]:
        reason = textwrap.shorten(failure["error"], REASON_WIDTH, placeholder=" …")
        reasons[failure["candidate"]].append(reason)
    return [
        f"{CANDIDATES[name].label}: measured in {sum(name in each for each in rounds)}"
        f" of {len(rounds)} rounds: {'; '.join(dict.fromkeys(found))}"
        for name, found in reasons.items()
    ]


def _cell(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return "–"
    text = _number(figure["value"]["median"])
    if ratio := figure.get("to_bare"):
        text += f" · {_ratio(ratio)}"
    elif figure["value"]["min"] != figure["value"]["max"]:
        text += f" ({_number(figure['value']['min'])}–{_number(figure['value']['max'])})"
    return text


def _ratio(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f}× ({ratio['min']:.2f}–{ratio['max']:.2f})"


def _number(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
