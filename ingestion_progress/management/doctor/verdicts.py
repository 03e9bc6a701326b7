"""All findings of a hop, in the order in which they matter, and where faults arise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingestion_progress.management.doctor import answers, deliveries, resumptions
from ingestion_progress.management.doctor.endpoints import Hop
from ingestion_progress.management.doctor.findings import Finding, Level
from ingestion_progress.management.doctor.observations import Observation

ALWAYS = (answers.reachable,)
OF_ANSWERS = (*ALWAYS, answers.http_version, answers.application)
OF_STREAMS = (
    *OF_ANSWERS,
    answers.headers,
    answers.cors,
    answers.errors,
    deliveries.job,
    deliveries.buffering,
    deliveries.ids,
    deliveries.compression,
    deliveries.keepalive,
    deliveries.ending,
    resumptions.resume,
    resumptions.query,
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What there is to say about one hop."""

    hop: Hop
    server: str
    """What it calls itself; empty where it does not."""
    via: str
    findings: tuple[Finding, ...]

    @property
    def has_problem(self) -> bool:
        return any(finding.level is Level.PROBLEM for finding in self.findings)

    def finding(self, check: str) -> Finding | None:
        """None where it was not looked at."""
        found = (finding for finding in self.findings if finding.check == check)
        return next((finding for finding in found if finding.level is not Level.SKIPPED), None)


def verdict_on(seen: Observation) -> Verdict:
    checks = OF_STREAMS if seen.is_right_stream else OF_ANSWERS if seen.greeting.status else ALWAYS
    return Verdict(
        hop=seen.hop,
        server=seen.greeting.header("Server"),
        via=seen.greeting.header("Via"),
        findings=tuple(check(seen) for check in checks),
    )


def origins(verdicts: Sequence[Verdict]) -> list[str]:
    """Of each fault at the public address, between which hops it arises, as sentences.

    The verdicts are in the order of the hops, the public one first.
    """
    public, *behind = verdicts
    if not behind:
        return []
    return [_origin(fault, verdicts) for fault in public.findings if _has_origin(fault)]


def _has_origin(finding: Finding) -> bool:
    # Between servers HTTP/1.1 is what is wanted, so there is nothing to compare.
    return finding.is_fault and finding.check != answers.HTTP_VERSION.name


def _origin(fault: Finding, verdicts: Sequence[Verdict]) -> str:
    """Walks inwards for as long as the fault is there."""
    outer = verdicts[0]
    for inner in verdicts[1:]:
        finding = inner.finding(fault.check)
        if finding is None:
            return f"{fault.title}: at {outer.hop.url}; {inner.hop.url} could not be compared."
        if not finding.is_fault:
            return (
                f"{fault.title}: {inner.hop.url} is right; what answers at {outer.hop.url}, "
                "or stands between the two, is not."
            )
        outer = inner
    return f"{fault.title}: at {outer.hop.url} itself; whatever is in front hands it on."
