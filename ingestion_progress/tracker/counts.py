"""Counts of the writer of a process, for `/metrics`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class WriterCounts:
    """Changed in the writer's thread only."""

    flushes: int = 0
    failures: int = 0
