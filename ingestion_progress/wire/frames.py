"""Encodes schemas as bytes: each SSE message once for all its receivers.

Nothing here needs Django's models, so that the benchmarks' peers can encode without Django.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from ingestion_progress.exceptions import ErrorCode, JobNotFound
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
    from ingestion_progress.wire.snapshots import Snapshot

# Opens a stream that has no state to send.
COMMENT = b": keepalive\n\n"
# Keeps proxies from closing a silent stream, and detects dead peers. A script sees no comments: it
# notices by the missing event that the connection died silently.
KEEPALIVE = COMMENT + b"event: keepalive\ndata: {}\n\n"

TOO_MANY_RETRY_MS = (45_000, 75_000)


@dataclass(frozen=True, kw_only=True)
class Message:
    """Whole SSE messages, or one line of a message that follows."""

    body: bytes

    @cached_property
    def deflated(self) -> bytes:
        """The body for clients that accept gzip; created for the first of them."""
        return deflate(self.body)


@dataclass(frozen=True, kw_only=True)
class Frame(Message):
    """One state of a job: `pipeline_progress`, `forecast`, `job_state` and, at the end, how the job
    ended.
    """

    cursor: str
    """Identifies the state of the job; empty where there is nothing to resume."""
    percent: float
    is_final: bool
    """The job has ended or has no state: a stream of this job alone ends after these bytes."""
    snapshot: Snapshot | None = field(default=None, compare=False, repr=False)
    """The state itself, for readers in this process; None if the frame is an error."""


def encode_event(event: str, data: WireModel, event_id: str = "") -> bytes:
    """One SSE message. JSON has no raw line breaks, so one `data:` line carries it."""
    head = f"event: {event}\nid: {event_id}\n" if event_id else f"event: {event}\n"
    return f"{head}data: {data.model_dump_json()}\n\n".encode()


def encode_retry(milliseconds: int) -> bytes:
    """How long the client waits before it reconnects. The line needs no event to take effect.

    It is sent in front of an event or at the end of the stream, because httpx-sse dispatches a
    block with nothing else as an empty `message`.
    """
    return f"retry: {milliseconds}\n".encode()


def retry_between(seconds: tuple[float, float]) -> bytes:
    """A `retry:` of a random time between these two: clients should not reconnect all at once."""
    return encode_retry(round(random.uniform(*seconds) * 1000))  # noqa: S311  (no secret)


def encode_error(job_id: str, code: ErrorCode, message: str = "") -> bytes:
    fields = {"message": message or code.message, "job_id": job_id, "code": code.value}
    return encode_event("error", ErrorEventData.model_validate(fields))


def refused_frame(job_id: str, code: ErrorCode) -> Frame:
    """The end of a refused stream: its viewer may not watch, or too many streams are open."""
    body = encode_error(job_id, code)
    if code is ErrorCode.TOO_MANY_STREAMS:
        # EventSource reconnects, and thousands of them should not do so at once.
        body = b"retry: %d\n%s" % (random.randint(*TOO_MANY_RETRY_MS), body)  # noqa: S311
    return Frame(body=body, cursor="", percent=0.0, is_final=True)


def single_job_frame(snapshot: Snapshot, now: datetime) -> Frame:
    """For streams of one job. A job that has ended adds the event that ends the stream."""
    progress = snapshot.progress(now)
    head = encode_event("pipeline_progress", progress, snapshot.cursor)
    return _frame(snapshot, now, head, CompleteEventData())


def multi_job_frame(snapshot: Snapshot, now: datetime, event_id: str) -> Frame:
    """For streams of many jobs: `job_id` in all data, and an `id` of the whole stream."""
    job_id = snapshot.job.id
    progress = JobPipelineProgressEventData(job_id=job_id, **dict(snapshot.progress(now)))
    head = encode_event("pipeline_progress", progress, event_id)
    return _frame(snapshot, now, head, JobCompleteEventData(job_id=job_id))


def idle_body(event_id: str) -> bytes:
    """The end of a stream of many jobs with `?until=idle`."""
    return encode_event("idle", IdleEventData(), event_id)


def _frame(snapshot: Snapshot, now: datetime, head: bytes, complete: WireModel) -> Frame:
    job, status = snapshot.job, snapshot.job.job_status
    body = head
    if forecast := snapshot.forecast(now):
        body += encode_event("forecast", forecast)
    body += encode_event("job_state", snapshot.state(now))
    if next_attempt := snapshot.next_attempt():
        body += encode_event("next_attempt", next_attempt)
    if status.has_succeeded:
        body += encode_event("complete", complete)
    elif status.is_final:
        body += encode_error(job.id, ErrorCode[status.name], job.error)
    return Frame(
        body=body,
        cursor=snapshot.cursor,
        percent=snapshot.overall_percent,
        is_final=status.is_final,
        snapshot=snapshot,
    )


def missing_frame(job_id: str) -> Frame:
    """The error of a job that does not exist, or no longer exists."""
    return Frame(
        body=encode_error(job_id, ErrorCode.NOT_FOUND, str(JobNotFound(job_id))),
        cursor="",
        percent=0.0,
        is_final=True,
    )
