"""A fixture for the time between two polls. Test modules load it with `pytest_plugins`."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ingestion_progress.feed import poller
from ingestion_progress.testing import synchronous_tracking

# The poller may read once or twice more before a command that has shown the end returns.
MAX_IDLE_READS = 200


class Steps(list):
    """Calls, each performed before one of the feed's reads, in the thread that reads."""

    def __init__(self) -> None:
        self.query_counts: list[int] = []
        """Queries of each read so far."""
        self.idle_reads = 0


@pytest.fixture
def steps(monkeypatch, settings):
    """Performs the given calls, one per poll: the first after the first poll."""
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 0.01
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 0
    pending = Steps()
    original = poller.read_changes

    def read(*args):
        if pending.query_counts and pending:
            pending.pop(0)()
        elif pending.query_counts:
            pending.idle_reads += 1
            if pending.idle_reads > MAX_IDLE_READS:
                raise KeyboardInterrupt  # the only way out of the feed's loop
        with CaptureQueriesContext(connection) as queries:
            changes = original(*args)
        pending.query_counts.append(len(queries))
        return changes

    monkeypatch.setattr(poller, "read_changes", read)
    with synchronous_tracking():
        yield pending
    assert pending.idle_reads <= MAX_IDLE_READS, "follow waits for something that does not happen"
