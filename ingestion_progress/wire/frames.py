"""Schema to bytes: one SSE message, encoded once for all who get it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.gzip import deflate
from ingestion_progress.wire.schemas import (
    CompleteEventData,
    ErrorEventData,
    IdleEventData,
    JobCompleteEventData,
    JobPipelineProgressEventData,
    WireModel,
)

if TYPE_CHECKING:
    from datetime import datetime

    from ingestion_progress.wire.snapshots import Snapshot

# A comment: keeps proxies from closing a silent stream, and finds out dead peers.
KEEPALIVE = b": keepalive\n\n"

TOO_MANY_RETRY_MS = (45_000, 75_000)
REFUSALS = {
    "forbidden": "You may not watch this job any longer.",
    "token_expired": "The token has expired; get a new one.",
    "too_many_streams": "There are too many streams open; this one will be tried again later.",
}


@dataclass(frozen=True, kw_only=True)
class Message:
    """Bytes that may stand between any two others of a stream."""

    body: bytes

    @cached_property
    def deflated(self) -> bytes:
        """The body for clients that take gzip; made for the first of them."""
        return deflate(self.body)


@dataclass(frozen=True, kw_only=True)
class Frame(Message):
    """The bytes of one state of a job, and what a stream must know of it."""

    resume_id: str
    """Epoch and revision of the job; empty where there is nothing to resume."""
    percent: float
    is_final: bool
    """The job has ended, or cannot be told about: a stream of it alone ends after these bytes."""


def encode_event(event: str, data: WireModel, resume_id: str = "") -> bytes:
    """One SSE message. JSON has no raw line breaks, so one `data:` line carries it."""
    head = f"event: {event}\nid: {resume_id}\n" if resume_id else f"event: {event}\n"
    return f"{head}data: {data.model_dump_json()}\n\n".encode()


def encode_retry(milliseconds: int) -> bytes:
    """How long the client waits before it reconnects, which takes effect without a block.

    The line goes in front of an event or at the end of the stream: httpx-sse dispatches a block
    of its own as an empty `message`.
    """
    return f"retry: {milliseconds}\n".encode()


def encode_error(job_id: str, message: str, code: str) -> bytes:
    data = ErrorEventData.model_validate({"message": message, "job_id": job_id, "code": code})
    return encode_event("error", data)


def refused_frame(job_id: str, code: str) -> Frame:
    """The end of a stream whose viewer may not watch any longer, or not now."""
    body = encode_error(job_id, REFUSALS[code], code)
    if code == "too_many_streams":
        # EventSource comes back by itself, and a crowd should not come back at once.
        body = b"retry: %d\n%s" % (random.randint(*TOO_MANY_RETRY_MS), body)  # noqa: S311
    return Frame(body=body, resume_id="", percent=0.0, is_final=True)


def state_frame(snapshot: Snapshot, now: datetime) -> Frame:
    """The whole state, and the event that ends the stream if the job has ended."""
    progress = snapshot.progress(now)
    head = encode_event("pipeline_progress", progress, snapshot.resume_id)
    return _frame(snapshot, now, head, CompleteEventData())


def joint_frame(snapshot: Snapshot, now: datetime, bookmark: str) -> Frame:
    """The same for streams of many jobs: `job_id` in all data, and the stream's own `id`."""
    job_id = snapshot.job.id
    progress = JobPipelineProgressEventData(job_id=job_id, **dict(snapshot.progress(now)))
    head = encode_event("pipeline_progress", progress, bookmark)
    return _frame(snapshot, now, head, JobCompleteEventData(job_id=job_id))


def idle_body(resume_id: str) -> bytes:
    """The end of a stream of many jobs that was asked for until none is left."""
    return encode_event("idle", IdleEventData(), resume_id)


def _frame(snapshot: Snapshot, now: datetime, head: bytes, complete: WireModel) -> Frame:
    job, status = snapshot.job, snapshot.job.job_status
    body = head + encode_event("job_state", snapshot.state(now))
    if status is JobStatus.SUCCEEDED:
        body += encode_event("complete", complete)
    elif status.is_final:
        message = job.error or f"The job ended as {status.label.lower()}."
        body += encode_error(job.id, message, status.value)
    return Frame(
        body=body,
        resume_id=snapshot.resume_id,
        percent=snapshot.overall_percent,
        is_final=status.is_final,
    )


def missing_frame(job_id: str) -> Frame:
    """All there is to say about a job that does not exist (any more)."""
    return Frame(
        body=encode_error(job_id, f"Job not found: {job_id}", "not_found"),
        resume_id="",
        percent=0.0,
        is_final=True,
    )
