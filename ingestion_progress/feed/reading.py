"""The database side of the feed: what changed since it was last read, already encoded."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from django.db import Error as DatabaseFailure
from django.db import connections, reset_queries, router

from ingestion_progress.feed.watches import State
from ingestion_progress.frames import Frame, encode_error, missing_frame
from ingestion_progress.models import Job
from ingestion_progress.snapshots import load_snapshots
from ingestion_progress.statuses import Liveness

P = ParamSpec("P")
T = TypeVar("T")

# With Django's default, CONN_MAX_AGE = 0, every tick would connect: 5 ms on PostgreSQL, beside
# 0.4 ms for the query. One that is never renewed would miss a database file that was replaced.
CONNECTION_MAX_AGE_SECONDS = 60.0
BROKEN_MESSAGE = "The progress of this job cannot be read."


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the feed has of a job, to be compared with its row."""

    epoch: str
    revision: int
    liveness: Liveness | None
    is_paused: bool = False
    """A change is not wanted yet, unless it is the last one."""

    def is_news(self, job: Job, now: datetime) -> bool:
        if (job.epoch, job.revision) == (self.epoch, self.revision):
            # Time passes without a write: a job may have stalled or gone silent.
            return not self.is_paused and job.liveness(now) != self.liveness
        return not self.is_paused or job.is_finished


@dataclass(frozen=True, slots=True)
class Changes:
    states: dict[str, State] = field(default_factory=dict)
    """By job id: only of jobs with news."""
    broken: dict[str, Exception] = field(default_factory=dict)
    """Why the rows of a job made no state; its state says so without a reason."""


def read_changes(known: Mapping[str, Known | None], now: datetime) -> Changes:
    """One query for all the jobs, and two more if some of them have news.

    `None` asks for a job's state in any case. Raises Django's database errors.
    """
    changes = Changes()
    for job_ids in _chunks(list(known)):
        _read_chunk(job_ids, known, now, changes)
    return changes


def _chunks(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    size = connections[router.db_for_read(Job)].features.max_query_params or len(job_ids)
    for start in range(0, len(job_ids), size):
        yield job_ids[start : start + size]


def _read_chunk(
    job_ids: Sequence[str], known: Mapping[str, Known | None], now: datetime, changes: Changes
) -> None:
    try:
        states = _read(job_ids, known, now)
    except DatabaseFailure:
        raise
    except Exception as error:  # noqa: BLE001  (a row that no field can read, whatever it raises)
        if len(job_ids) == 1:
            _give_up(job_ids[0], error, changes)
            return
        middle = len(job_ids) // 2
        for half in (job_ids[:middle], job_ids[middle:]):
            _read_chunk(half, known, now, changes)
    else:
        changes.states.update(states)


def _read(
    job_ids: Sequence[str], known: Mapping[str, Known | None], now: datetime
) -> dict[str, State]:
    jobs = Job.objects.in_bulk(job_ids)
    states = {
        job_id: State(frame=missing_frame(job_id)) for job_id in job_ids if job_id not in jobs
    }
    moved = [
        job for job_id, job in jobs.items() if (at := known[job_id]) is None or at.is_news(job, now)
    ]
    if moved:
        snapshots = load_snapshots(moved)
        states |= {job_id: State.of(snapshot, now) for job_id, snapshot in snapshots.items()}
    return states


def _give_up(job_id: str, error: Exception, changes: Changes) -> None:
    body = encode_error(job_id, BROKEN_MESSAGE, "stream_error")
    frame = Frame(body=body, resume_id="", percent=0.0, is_final=True)
    changes.states[job_id] = State(frame=frame)
    changes.broken[job_id] = error


class Reader:
    """A thread of the feed's own, with its own database connection.

    A request's executor and connection belong to that request, and end with it.
    """

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]
        self._inbox = queue.SimpleQueue()
        self._renew_at = time.monotonic() + CONNECTION_MAX_AGE_SECONDS
        # An executor's thread is joined at exit: a database that accepts and never answers
        # would keep the process for ever.
        self._thread = threading.Thread(
            target=self._work, name="ingestion-progress-feed", daemon=True
        )
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Closed readers live on until their last call has returned."""
        return self._thread.is_alive()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns or raises."""

        def call() -> T:
            reset_queries()
            if time.monotonic() >= self._renew_at:
                self._disconnect()
            try:
                return function(*args, **kwargs)
            except DatabaseFailure:
                self._disconnect()
                raise

        future: Future[T] = Future()
        self._inbox.put((call, future))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Ends the thread and its connections, after the call under way; waits for nothing."""
        self._inbox.put(None)

    def _work(self) -> None:
        while (item := self._inbox.get()) is not None:
            call, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001  (it is the caller's to handle)
                future.set_exception(error)
            del item, call, future  # what they hold is not needed while the thread waits
        self._disconnect()

    def _disconnect(self) -> None:
        connections.close_all()  # of this thread
        self._renew_at = time.monotonic() + CONNECTION_MAX_AGE_SECONDS
