"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    SKIPPED = "skipped"
    """It could not be looked at, or was not asked for."""
    WARNING = "warning"
    """It works, and could be better."""
    PROBLEM = "problem"
    """Viewers notice it."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    check: str
    """Its name, for programs."""
    title: str
    level: Level
    evidence: str
    """What was seen: a header, seconds."""
    fix: str = ""
    """What to set; empty where there is nothing to do."""

    @property
    def is_fault(self) -> bool:
        return self.level in {Level.WARNING, Level.PROBLEM}


@dataclass(frozen=True)
class Check:
    """The name under which findings of one kind go."""

    name: str
    title: str

    def ok(self, evidence: str) -> Finding:
        return self._finding(Level.OK, evidence)

    def skipped(self, evidence: str) -> Finding:
        return self._finding(Level.SKIPPED, evidence)

    def warning(self, evidence: str, fix: str = "") -> Finding:
        return self._finding(Level.WARNING, evidence, fix)

    def problem(self, evidence: str, fix: str) -> Finding:
        return self._finding(Level.PROBLEM, evidence, fix)

    def _finding(self, level: Level, evidence: str, fix: str = "") -> Finding:
        return Finding(check=self.name, title=self.title, level=level, evidence=evidence, fix=fix)
