"""Cursors and frames of a state, by its dates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ingestion_progress.feed.job_state import JobState, cursor_at, refreshed
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.snapshots import Snapshot

NOW = datetime(2026, 1, 1, 12, 0, 0, 1500, tzinfo=UTC)
LATER, EARLIER = NOW + timedelta(seconds=10), NOW - timedelta(seconds=10)


def state(*, ended_at: datetime | None = None) -> JobState:
    job = Job(
        id="job", epoch="e", revision=1, batch="b", started_at=EARLIER, heartbeat_at=NOW,
        updated_at=NOW, finished_at=ended_at,
        status=JobStatus.FAILED if ended_at else JobStatus.RUNNING,
    )  # fmt: skip
    return JobState(Snapshot(job=job, stages=[], workers=[]), NOW, NOW)


def id_of(body: bytes) -> str:
    return body.split(b"\nid: ")[1].split(b"\n")[0].decode()


def test_cursor_is_in_whole_milliseconds():
    assert cursor_at(NOW) == "1767268800001"


@pytest.mark.parametrize(
    ("ended_at", "cursor"), [(None, NOW), (EARLIER, EARLIER), (LATER, NOW)], ids=str
)
def test_cursor_is_the_end_or_the_read_whichever_is_earlier(ended_at, cursor):
    assert id_of(state(ended_at=ended_at).multi_frame.body) == cursor_at(cursor)


def test_ended_job_is_final_and_sorted_by_its_end():
    ended, active = state(ended_at=EARLIER), state()

    assert (ended.is_final, active.is_final) == (True, False)
    assert ended.active_until < state(ended_at=NOW).active_until < active.active_until
    assert ended.version == ended.snapshot.cursor
    assert ended.batch == "b"


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_only_the_wanted_frame_is_encoded_ahead(wanted):
    single, multi = wanted
    encoded = state().encode(single=single, multi=multi)

    assert (encoded._single_frame is not None, encoded.has_multi_frame) == wanted
    assert encoded.single_frame is encoded.single_frame
    assert encoded.multi_frame is encoded.multi_frame


def test_refreshed_state_has_the_times_of_now_and_the_cursor_of_its_read():
    before = state()
    after = refreshed({"job": before}, LATER, EARLIER)["job"]

    assert after.snapshot is before.snapshot
    assert after.has_multi_frame
    assert b'"elapsed_ms":20000' in after.multi_frame.body
    assert id_of(after.multi_frame.body) == cursor_at(EARLIER)
    assert id_of(before.with_clocks_at(LATER).multi_frame.body) == cursor_at(NOW)
