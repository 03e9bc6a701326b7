"""A tracker that writes soon, and waits for its results."""

from __future__ import annotations

import time

import pytest
from django.utils import timezone

from ingestion_progress.tracker.writer import background_writer
from ingestion_progress.wire.snapshots import load_snapshot


@pytest.fixture(autouse=True)
def quick_writer(settings):
    settings.INGESTION_PROGRESS_FLUSH_INTERVAL_SECONDS = 0.01
    settings.INGESTION_PROGRESS_HEARTBEAT_SECONDS = 0.02
    # An earlier test may have set longer intervals.
    background_writer._flush_at = background_writer._live.heartbeat_at = 0.0
    yield
    background_writer.stop()


def eventually(claim, seconds=60.0):
    """Waits until another thread makes the condition true."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.005)


def progress(job_id):
    return load_snapshot(job_id).progress(timezone.now())
