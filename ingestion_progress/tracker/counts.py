"""What the tracker of a process counts, for `/metrics`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class WriterCounts:
    """Written in the tracker's own thread only."""

    flushes: int = 0
    failures: int = 0
