"""The findings of all endpoints, as text and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingestion_progress.management.doctor.checks import Finding, Level, delivery, reach
from ingestion_progress.management.doctor.run import ProbeResult
from ingestion_progress.management.terminal.output import printable, printable_json

SYMBOLS = {
    Level.OK: ("✓", "green"),
    Level.SKIPPED: ("-", "dim"),
    Level.WARNING: ("!", "yellow"),
    Level.PROBLEM: ("✗", "red"),
}
RESPONSE_CHECKS = (reach.http_version, reach.application)
STREAM_CHECKS = (
    *(reach.headers, reach.cors, reach.errors),
    *(delivery.job, delivery.buffering, delivery.ids, delivery.compression),
    *(delivery.keepalive, delivery.ending, delivery.resume, reach.query),
)


@dataclass(frozen=True, kw_only=True)
class EndpointReport:
    url: str
    server: str
    via: str
    findings: tuple[Finding, ...]

    @property
    def has_problem(self) -> bool:
        return any(finding.level is Level.PROBLEM for finding in self.findings)


def report_on(result: ProbeResult) -> EndpointReport:
    response = result.unknown_stream
    checks = (
        reach.reachable,
        *(RESPONSE_CHECKS if response.status else ()),
        *(STREAM_CHECKS if response.is_stream else ()),
    )
    return EndpointReport(
        url=result.endpoint.url,
        server=response.header("Server"),
        via=response.header("Via"),
        findings=tuple(check(result) for check in checks),
    )


def origins(reports: Sequence[EndpointReport]) -> list[str]:
    """Sentences that say where each fault of the public endpoint, the first report, arises."""
    if len(reports) == 1:
        return []
    # HTTP/1.1 is right between servers, so there is nothing to compare.
    faults = [f for f in reports[0].findings if f.is_fault and f.check != "http_version"]
    return [f"{fault.title}: {_origin(fault.check, reports)}" for fault in faults]


def _origin(check: str, reports: Sequence[EndpointReport]) -> str:
    """Compares from the outside in, up to the first endpoint without the fault."""
    outer, *behind = reports
    for inner in behind:
        finding = next((found for found in inner.findings if found.check == check), None)
        if finding is None or finding.level is Level.SKIPPED:
            return f"wrong at {outer.url}; {inner.url} could not be compared."
        if not finding.is_fault:
            return (
                f"right at {inner.url}, wrong at {outer.url}. Correct the server at {outer.url}, "
                "or one between the two."
            )
        outer = inner
    return f"wrong at {outer.url} itself; the servers in front pass it on."


def show(reports: Sequence[EndpointReport], console: Console) -> None:
    for report in reports:
        names = {"Server": report.server, "Via": report.via}
        shown = ", ".join(f"{name}: {value}" for name, value in names.items() if value)
        console.print(_text(report.url, "bold"), _text(shown, "dim"), sep="  " if shown else "")
        table = Table.grid("", "", "", padding=(0, 1))
        table.columns[1].no_wrap = True
        table.columns[2].overflow = "fold"
        for finding in report.findings:
            symbol, style = SYMBOLS[finding.level]
            table.add_row(_text(symbol, style), finding.title, _text(finding.evidence, style))
            if finding.fix:
                table.add_row("", "", _text(finding.fix))
        console.print(table)
        console.print()
    for sentence in origins(reports):
        console.print(_text(f"→ {sentence}"))
    levels = [finding.level for report in reports for finding in report.findings]
    problems, warnings = levels.count(Level.PROBLEM), levels.count(Level.WARNING)
    style = "red" if problems else "yellow" if warnings else "green"
    console.print(_text(f"Problems: {problems}, warnings: {warnings}.", style))


def as_json(reports: Sequence[EndpointReport]) -> str:
    """`hops` with their findings in order, `origins` as sentences, `ok` without a problem."""
    keys = ("check", "level", "evidence", "fix")
    hops = [
        {"url": report.url, "server": report.server, "via": report.via}
        | {"findings": [{key: getattr(found, key) for key in keys} for found in report.findings]}
        for report in reports
    ]
    is_ok = not any(report.has_problem for report in reports)
    document = json.dumps({"ok": is_ok, "hops": hops, "origins": origins(reports)}, indent=2)
    return "\n".join(map(printable_json, document.split("\n")))


def _text(text: str, style: str = "") -> Text:
    """Without control characters, which a server could send to control the terminal."""
    return Text(printable(text), style)
