"""A feed of the test's own, with short intervals, and a clock that a test may move."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ingestion_progress.feed import Feed, read_schedule
from tests.support.clocks import ManualClock


@pytest.fixture(autouse=True)
def quick_settings(settings, monkeypatch):
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 0.01
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 0.02
    settings.INGESTION_PROGRESS_KEEPALIVE_SECONDS = 60
    monkeypatch.setattr(read_schedule, "SCAN_INTERVAL_SECONDS", 0.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def feed(request: pytest.FixtureRequest) -> AsyncIterator[Feed]:
    """With the test's clock, if it asks for one."""
    uses_clock = "clock" in request.fixturenames
    feed = Feed(clock=request.getfixturevalue("clock")) if uses_clock else Feed()
    yield feed
    for subscriber in list(feed._subscriptions):
        feed.unsubscribe(subscriber)
