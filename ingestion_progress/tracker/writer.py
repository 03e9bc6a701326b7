"""The thread of a process that writes progress, with its own database connection.

Callers never wait for a count to be stored, and what is stored is visible while the caller's
transaction is still open. While the database is down, changes merge in memory and the thread
tries again after growing pauses.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import reset_queries
from django.db.backends.base.base import BaseDatabaseWrapper

from ingestion_progress.concurrency.backoff import Backoff
from ingestion_progress.concurrency.process_thread import ProcessThread
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import DATABASE_UNAVAILABLE
from ingestion_progress.tracker.buffer import Buffer, Writer
from ingestion_progress.tracker.database import (
    Call,
    Calls,
    holds_sqlite_lock,
    others_go_on,
    progress_connection,
)
from ingestion_progress.tracker.heartbeats import Heartbeats
from ingestion_progress.tracker.unwritten import UnwrittenBuffers

logger = logging.getLogger("ingestion_progress.tracker")

Result = TypeVar("Result")

# The pause after the first failed write; it doubles up to the second value.
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 3.0
# Stages of a short document change within milliseconds: they are written together.
URGENT_INTERVAL_SECONDS = 0.1
# An unused connection: a worker of a queue starts the next job within milliseconds.
KEPT_SECONDS = 1.0
EXIT_SECONDS = 10.0  # also with a database that never answers


@dataclass(slots=True)
class WriterCounts:
    """For `/metrics`. Changed in the writer's thread only."""

    flushes: int = 0
    failures: int = 0


class BackgroundWriter(ProcessThread):
    """Writes what buffers collect, sends heartbeats and performs calls, each when it is due."""

    def __init__(self) -> None:
        super().__init__(
            "ingestion-progress-writer", exit_seconds=EXIT_SECONDS + 1, exit_priority=100
        )

    def _reset(self) -> None:
        super()._reset()
        self.counts = WriterCounts()
        self._connection: BaseDatabaseWrapper | None = None
        self._inbox: queue.SimpleQueue[Call[Any] | None] = queue.SimpleQueue()
        self._calls = Calls()
        self._postponed = Calls()
        self._dirty = UnwrittenBuffers()
        self._live = Heartbeats()
        self._flush_at = self._urgent_at = self._postponed_at = self._retry_at = 0.0
        self._used_at = 0.0
        self._backoff = Backoff(
            logger,
            down="tracker_database_down",
            back="tracker_database_back",
            first_seconds=FIRST_RETRY_SECONDS,
            last_seconds=LAST_RETRY_SECONDS,
        )

    def _before_fork(self) -> None:
        """The child must not share the connection, nor inherit locks of SQLite that it holds."""
        super()._before_fork()
        if self._connection is not None:
            self._connection.inc_thread_sharing()
            self._connection.close()
            self._connection.dec_thread_sharing()

    def _after_fork_in_child(self) -> None:
        for buffer in self._dirty.all():
            buffer.forget()
        self._live.forget()
        super()._after_fork_in_child()

    # From any thread

    def notice(self, buffer: Buffer, *, is_urgent: bool = False) -> None:
        is_first = self._dirty.add([buffer])
        if is_urgent:
            self._flush_at = min(self._flush_at, self._urgent_at)
        if is_first or is_urgent:
            self._put(None)

    def open(self, buffer: Buffer) -> None:
        self._live.add(buffer, time.monotonic())
        self._put(None)

    def close(self, buffer: Buffer) -> None:
        self._live.discard(buffer)
        self._put(None)

    def call(self, write: Callable[[], Result]) -> Result:
        if holds_sqlite_lock():
            return write()
        future = self._submit(write)
        try:
            # The thread responds within the deadline; a second later it is considered hung.
            return future.result(conf.write_timeout_seconds + 1)
        finally:
            future.cancel()

    async def acall(self, write: Callable[[], Result]) -> Result:
        async with asyncio.timeout(conf.write_timeout_seconds + 1):
            return await asyncio.wrap_future(self._submit(write))

    def postpone(self, job_id: str, write: Callable[[], object]) -> None:
        self._postponed.append(Call(write=write, deadline=math.inf, job_id=job_id))
        self._put(None)

    def _submit(self, write: Callable[[], Result]) -> Future[Result]:
        call = Call(write=write, deadline=time.monotonic() + conf.write_timeout_seconds)
        self._put(call)
        return call.future

    def _put(self, call: Call[Any] | None) -> None:
        self._inbox.put(call)
        self.start()

    def _wake(self) -> None:
        self._inbox.put(None)

    # In the writer's thread

    def _run(self) -> None:
        self._connection = progress_connection()
        while not self._may_stop():
            with self._working:
                seconds = self._seconds_until_due()
            self._receive(seconds)
            with self._working:
                self._work_or_back_off()
        with self._working:
            progress_connection().close()

    def _may_stop(self) -> bool:
        if self.stopping_since is None:
            return False
        if not (self._dirty or self._calls or self._postponed) and self._inbox.empty():
            return True
        if time.monotonic() < self.stopping_since + EXIT_SECONDS:
            return False
        jobs = sorted(buffer.attempt.job_id for buffer in self._dirty.all())
        lost = {"job_ids": jobs, "unrecorded_ends": [call.job_id for call in self._postponed]}
        logger.error("tracker_changes_lost_at_exit", extra=lost)
        return True

    def _seconds_until_due(self) -> float | None:
        """None if nothing is due before the next call or wake-up."""
        due = [self._flush_at] if self._dirty else []
        if self._postponed:
            due.append(self._postponed_at)
        if self._live:
            due.append(self._live.due_at)
        if self._calls or self.stopping_since is not None:
            due.append(0.0)
        if not due:
            return self._seconds_until_closed()
        due_at = max(min(due), self._retry_at)
        if self.stopping_since is not None:
            due_at = min(due_at, self.stopping_since + EXIT_SECONDS)
        return max(0.0, due_at - time.monotonic())

    def _seconds_until_closed(self) -> float | None:
        """Closes the connection when it has not been used for a while; None: it is closed."""
        left = self._used_at + KEPT_SECONDS - time.monotonic()
        if self._connection is None or self._connection.connection is None:
            return None
        if left > 0:
            return left
        self._connection.close()
        return None

    def _receive(self, seconds: float | None) -> None:
        """Waits until something is due or received, and takes all calls received."""
        with suppress(queue.Empty):
            call = self._inbox.get(timeout=seconds)
            while True:
                if call is not None:
                    self._calls.append(call)
                call = self._inbox.get_nowait()

    def _work_or_back_off(self) -> None:
        try:
            self._work()
        except Exception as error:
            if not isinstance(error, DATABASE_UNAVAILABLE):
                # Nothing is written without this thread, so it survives unexpected errors.
                logger.exception("tracker_writer_failed")
            self.counts.failures += 1
            self._backoff.failed(error)
            self._retry_at = time.monotonic() + self._backoff.pause_seconds
            progress_connection().close()
        reset_queries()  # which Django collects if DEBUG is set

    def _work(self) -> None:
        now = time.monotonic()
        if now < self._retry_at:
            self._calls.expire(now)
            return
        if self._calls or self._postponed or self._dirty or self._live:
            self._used_at = now
        if self._calls and not self._dirty:
            # The stages that a job starts right after its own start are written together.
            self._urgent_at = now + URGENT_INTERVAL_SECONDS
            self._flush_at = max(self._flush_at, self._urgent_at)
        with others_go_on():
            self._calls.perform(time.monotonic)
        if self._postponed and (now >= self._postponed_at or self.stopping_since is not None):
            # A row that stays locked delays the writes of other jobs no more often than this.
            self._postponed_at = now + LAST_RETRY_SECONDS
            with others_go_on():
                self._postponed.perform(time.monotonic)
        if self._dirty and (now >= self._flush_at or self.stopping_since is not None):
            with others_go_on():
                self._flush(now)
        if self._live:
            self._live.attend(now)
        self._backoff.succeeded()

    def _flush(self, now: float) -> None:
        self._flush_at = now + conf.flush_interval_seconds
        self._urgent_at = now + URGENT_INTERVAL_SECONDS
        try:
            self.counts.flushes += self._dirty.flush()
        except DATABASE_UNAVAILABLE:
            # Due again after the pause, not after an interval.
            self._flush_at = self._urgent_at = 0.0
            raise
        if self._dirty and self.stopping_since is not None:  # then nothing else makes it wait
            self._retry_at = time.monotonic() + FIRST_RETRY_SECONDS


background_writer = BackgroundWriter()
_current: Writer = background_writer


def current_writer() -> Writer:
    """The writer of trackers that are opened now."""
    return _current


def use_writer(writer: Writer) -> Writer:
    """Replaces the current writer and returns the former one."""
    global _current
    former, _current = _current, writer
    return former
