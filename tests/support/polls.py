"""A fixture for the time between two polls. Test modules ask for it with `pytest_plugins`."""

from __future__ import annotations

import pytest

from ingestion_progress.management.commands import follow
from ingestion_progress.testing import synchronous_tracking


@pytest.fixture
def steps(monkeypatch):
    """Performs what it is given, one per poll, in place of waiting for the next poll."""
    pending = []

    def sleep(seconds: float) -> None:
        assert pending, "follow waits for something that does not happen"
        pending.pop(0)()

    monkeypatch.setattr(follow.time, "sleep", sleep)
    with synchronous_tracking():
        yield pending
