from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.frames import (
    KEEPALIVE,
    encode_event,
    idle_body,
    missing_frame,
    multi_job_frame,
    refused_frame,
    single_job_frame,
)
from ingestion_progress.wire.schemas import KeepaliveEventData
from ingestion_progress.wire.snapshots import Snapshot

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def frame(status=JobStatus.RUNNING, **job):
    finished = {"finished_at": NOW} if status.is_final else {}
    fields = {"id": "job", "status": status, "epoch": "e", "revision": 7, "started_at": NOW}
    fields["updated_at"] = NOW
    return single_job_frame(
        Snapshot(job=Job(**fields | finished | job), stages=(), workers=()), NOW
    )


def events(body: bytes) -> list[dict[str, str]]:
    messages = body.decode().removesuffix("\n\n").split("\n\n")
    return [dict(line.split(": ", 1) for line in message.split("\n")) for message in messages]


def test_a_running_job_is_one_state_with_its_resume_point():
    state, forecast, extra = events(frame().body)
    assert (state["event"], state["id"]) == ("pipeline_progress", "e-7-1767268800000")
    assert json.loads(state["data"])["overall_progress_percent"] == 0
    assert extra["event"] == "job_state"
    assert forecast["event"] == "forecast"
    assert "id" not in extra | forecast
    assert not frame().is_final


def test_success_ends_in_complete_with_an_empty_object():
    final = frame(JobStatus.SUCCEEDED)
    assert final.body.endswith(b"event: complete\ndata: {}\n\n")
    assert final.is_final
    assert final.percent == 100


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.LOST])
def test_every_other_end_is_an_error_event_with_its_code(status):
    *_, last = events(frame(status, error="Because.").body)
    assert last["event"] == "error"
    assert json.loads(last["data"]) == {
        "message": "Because.",
        "job_id": "job",
        "code": status.value,
    }


def test_an_end_without_a_reason_has_a_default_message():
    *_, last = events(frame(JobStatus.FAILED).body)
    assert json.loads(last["data"])["message"] == "The job failed."


def test_an_unknown_job_has_the_message_of_the_contract():
    (only,) = events(missing_frame("job_123").body)
    assert only["event"] == "error"
    assert json.loads(only["data"]) == {
        "message": "Job not found: job_123",
        "job_id": "job_123",
        "code": "not_found",
    }


@pytest.mark.parametrize("name", ["a\nb", "a\r\nevent: complete\r\ndata: {}", "a\u2028b", "🙂"])
def test_no_name_can_break_out_of_its_frame(name):
    state, *_ = events(frame(document_name=name).body)
    assert json.loads(state["data"])["document_name"] == name
    assert b"\r" not in frame(document_name=name).body


def test_a_frame_of_many_jobs_names_its_job_and_the_stream_s_id():
    fields = {"id": "job", "epoch": "e", "revision": 7, "started_at": NOW, "updated_at": NOW}
    for status, last in ((JobStatus.RUNNING, "job_state"), (JobStatus.SUCCEEDED, "complete")):
        job = Job(status=status, finished_at=NOW if status.is_final else None, **fields)
        snapshot = Snapshot(job=job, stages=(), workers=())
        many = multi_job_frame(snapshot, NOW, "1767")
        found = events(many.body)

        assert (found[0]["event"], found[0]["id"]) == ("pipeline_progress", "1767")
        assert found[-1]["event"] == last
        assert all(json.loads(each["data"])["job_id"] == "job" for each in found)
        assert (many.cursor, many.is_final, many.snapshot) == (
            snapshot.cursor,
            status.is_final,
            snapshot,
        )
        assert many.percent == snapshot.overall_percent


def test_the_end_of_a_whole_stream_has_an_id_and_no_data():
    assert idle_body("1767") == b"event: idle\nid: 1767\ndata: {}\n\n"


@pytest.mark.parametrize("code", [ErrorCode.FORBIDDEN, ErrorCode.TOKEN_EXPIRED])
def test_a_refused_viewer_is_not_asked_to_wait(code):
    refused = refused_frame("job", code)
    (only,) = events(refused.body)

    assert json.loads(only["data"]) == {"message": code.message, "job_id": "job", "code": code}
    assert (refused.cursor, refused.percent, refused.is_final) == ("", 0, True)


def test_one_stream_too_many_waits_a_minute_more_or_less():
    bodies = [refused_frame("", ErrorCode.TOO_MANY_STREAMS).body for _ in range(200)]
    waits = [int(re.match(rb"retry: (\d+)\nevent: error\n", body)[1]) for body in bodies]

    assert 45_000 <= min(waits) < 50_000
    assert 70_000 < max(waits) <= 75_000


def test_an_unknown_job_has_nothing_to_resume():
    missing = missing_frame("job")

    assert (missing.cursor, missing.percent, missing.is_final) == ("", 0, True)
    assert missing.snapshot is None


def test_a_keepalive_is_a_comment_for_proxies_and_an_event_for_scripts():
    assert b": keepalive\n\n" + encode_event("keepalive", KeepaliveEventData()) == KEEPALIVE
