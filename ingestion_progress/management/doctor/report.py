"""The verdicts, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingestion_progress.management.doctor.findings import Level
from ingestion_progress.management.doctor.verdicts import Verdict, origins

SYMBOLS = {
    Level.OK: ("✓", "green"),
    Level.SKIPPED: ("-", "dim"),
    Level.WARNING: ("!", "yellow"),
    Level.PROBLEM: ("✗", "red"),
}


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    for verdict in verdicts:
        console.print(_heading(verdict))
        console.print(_findings(verdict))
        console.print()
    for sentence in origins(verdicts):
        console.print(f"→ {sentence}", markup=False)
    console.print(_summary(verdicts))


def as_json(verdicts: Sequence[Verdict]) -> str:
    """`hops` with their findings in order, `origins` as sentences, `ok` without a problem."""
    hops = [
        {
            "url": verdict.hop.url,
            "server": verdict.server,
            "via": verdict.via,
            "findings": [
                {
                    "check": finding.check,
                    "level": finding.level.value,
                    "evidence": finding.evidence,
                    "fix": finding.fix,
                }
                for finding in verdict.findings
            ],
        }
        for verdict in verdicts
    ]
    is_ok = not any(verdict.has_problem for verdict in verdicts)
    return json.dumps({"ok": is_ok, "hops": hops, "origins": origins(verdicts)}, indent=2)


def _heading(verdict: Verdict) -> Text:
    said = [f"Server: {verdict.server}"] if verdict.server else []
    said += [f"Via: {verdict.via}"] if verdict.via else []
    return Text.assemble((verdict.hop.url, "bold"), (f"  {', '.join(said)}" if said else "", "dim"))


def _findings(verdict: Verdict) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in verdict.findings:
        symbol, style = SYMBOLS[finding.level]
        table.add_row(
            Text(symbol, style=style), finding.title, Text(_plain(finding.evidence), style=style)
        )
        if finding.fix:
            table.add_row("", "", Text(_plain(finding.fix)))
    return table


def _summary(verdicts: Sequence[Verdict]) -> Text:
    levels = [finding.level for verdict in verdicts for finding in verdict.findings]
    problems, warnings = levels.count(Level.PROBLEM), levels.count(Level.WARNING)
    if problems:
        return Text(f"{_number(problems, 'problem')}, {_number(warnings, 'warning')}.", "red")
    if warnings:
        return Text(f"No problem, {_number(warnings, 'warning')}.", "yellow")
    return Text("All is well.", "green")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _plain(text: str) -> str:
    """Without what a hop might do to a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
