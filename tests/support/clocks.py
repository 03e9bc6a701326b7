"""A clock for the feed that stands still until a test moves it, and a host whose clock is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.utils import timezone

from ingestion_progress.models.clock import database_clock


class ManualClock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@contextmanager
def host_ahead(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    """This process is on a host whose clock is ahead, as it has measured."""
    time_here, now_here = time.time, timezone.now
    with monkeypatch.context() as host:
        host.setattr(time, "time", lambda: time_here() + seconds)
        host.setattr(timezone, "now", lambda: now_here() + timedelta(seconds=seconds))
        host.setattr(database_clock, "_offset_seconds", -seconds)
        yield
