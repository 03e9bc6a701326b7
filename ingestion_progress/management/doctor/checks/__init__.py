"""What a check finds at an endpoint: a level, the evidence and a remedy."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from ingestion_progress.management.doctor.run import ProbeResult


class Level(StrEnum):
    OK = "ok"
    SKIPPED = "skipped"
    """It could not be checked, or the check was not requested."""
    WARNING = "warning"
    """It works, and could be better."""
    PROBLEM = "problem"
    """Viewers notice it."""


@dataclass(frozen=True)
class Finding:
    level: Level
    evidence: str
    """What was measured, such as a header or a delay."""
    fix: str = ""
    """What to change; empty if nothing."""
    check: str = ""
    """The name of the check, for programs."""
    title: str = ""

    @property
    def is_fault(self) -> bool:
        return self.level in {Level.WARNING, Level.PROBLEM}


Check = Callable[[ProbeResult], Finding]
ok, skip = partial(Finding, Level.OK), partial(Finding, Level.SKIPPED)
warning, problem = partial(Finding, Level.WARNING), partial(Finding, Level.PROBLEM)


def check(name: str, title: str, *, needs_states: bool = False) -> Callable[[Check], Check]:
    """Names the findings of a function. `needs_states` skips it if no state arrived."""

    def decorate(function: Check) -> Check:
        def named(result: ProbeResult) -> Finding:
            can_run = result.states or not needs_states
            finding = function(result) if can_run else skip("no state arrived")
            return replace(finding, check=name, title=title)

        return named

    return decorate
