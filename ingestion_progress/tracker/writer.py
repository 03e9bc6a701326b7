"""The one thread of a process that writes progress, on a database connection of its own.

Callers never wait for a count to be stored, and what is stored is visible while the caller's
own transaction is still open. A database that is away is tried again, with a growing pause;
what was to be written waits in memory, where it merges.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import queue
import threading
import time
import weakref
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings
from django.db import connections, reset_queries
from django.utils import timezone

from ingestion_progress.conf import conf
from ingestion_progress.exceptions import DATABASE_AWAY
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.tracker.counts import WriterCounts
from ingestion_progress.tracker.sql import progress_alias
from ingestion_progress.tracker.writers import (
    Writer,
    flush_buffer,
    is_in_event_loop,
    is_transient,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.base.base import BaseDatabaseWrapper

    from ingestion_progress.tracker.buffer import Buffer

logger = logging.getLogger("ingestion_progress.tracker")

Result = TypeVar("Result")

# After a failed write, before the next try; doubles up to the second.
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 3.0
# A database that accepts a connection and never answers must not keep a process from exiting.
EXIT_SECONDS = 10.0


@dataclass
class _Call:
    write: Callable[[], Any]
    future: Future[Any]
    deadline: float


class BackgroundWriter:
    def __init__(self) -> None:
        self._working = threading.Lock()
        self._reset()
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._working.release,
            after_in_child=self._begin_as_child,
        )

    def _before_fork(self) -> None:
        """A child made in the midst of the thread's work would inherit SQLite's locks, held by
        nobody, and hang at its first query; and it must not share the connection."""
        self._working.acquire()
        if self._connection is not None:
            self._connection.inc_thread_sharing()
            self._connection.close()
            self._connection.dec_thread_sharing()

    def _begin_as_child(self) -> None:
        """A forked child has the parent's memory, but not its thread."""
        for buffer in {*self._dirty, *self._live}:
            buffer.forget()
        self._reset()
        self._working.release()

    def _reset(self) -> None:
        self.counts = WriterCounts()
        self._lock = threading.Lock()
        self._connection: BaseDatabaseWrapper | None = None
        self._inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._dirty: set[Buffer] = set()
        self._live: weakref.WeakSet[Buffer] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._calls: list[_Call] = []
        self._flush_at = self._heartbeat_at = 0.0
        self._retry_at = 0.0
        self._retry_seconds = 0.0
        self._stop_by: float | None = None

    # From any thread

    def notice(self, buffer: Buffer, *, is_urgent: bool = False) -> None:
        with self._lock:
            is_first = not self._dirty
            self._dirty.add(buffer)
        if is_urgent:
            self._flush_at = 0.0
        if is_first or is_urgent:
            self._wake(None)

    def open(self, buffer: Buffer) -> None:
        with self._lock:
            if not self._live:  # the start itself was a sign of life
                self._heartbeat_at = time.monotonic() + conf.heartbeat_seconds
            self._live.add(buffer)
        self._wake(None)

    def close(self, buffer: Buffer) -> None:
        with self._lock:
            self._live.discard(buffer)
        self._wake(None)

    def call(self, write: Callable[[], Result]) -> Result:
        if holds_sqlite_lock():
            return write()
        future = self._submit(write)
        try:
            # The writer gives up by itself; the second more is for one that hangs.
            return future.result(conf.write_timeout_seconds + 1)
        finally:
            future.cancel()

    async def acall(self, write: Callable[[], Result]) -> Result:
        async with asyncio.timeout(conf.write_timeout_seconds + 1):
            return await asyncio.wrap_future(self._submit(write))

    def stop(self) -> None:
        """Writes what is pending and ends the thread; the next use starts another."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        self._stop_by = time.monotonic() + EXIT_SECONDS
        self._inbox.put(None)
        thread.join(EXIT_SECONDS + 1)
        self._stop_by = None

    def _submit(self, write: Callable[[], Result]) -> Future[Result]:
        future: Future[Result] = Future()
        deadline = time.monotonic() + conf.write_timeout_seconds
        self._wake(_Call(write=write, future=future, deadline=deadline))
        return future

    def _wake(self, call: _Call | None) -> None:
        self._inbox.put(call)
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            if self._thread is None:
                atexit.register(self.stop)
                # A child of multiprocessing leaves without running atexit.
                Finalize(None, self.stop, exitpriority=100)
            self._thread = threading.Thread(
                target=self._run, name="ingestion-progress-writer", daemon=True
            )
            self._thread.start()

    # In the writer's thread

    def _run(self) -> None:
        self._connection = connections[progress_alias()]
        while True:
            with self._working:
                seconds = self._seconds_until_due()
            self._receive(seconds)
            with self._working:
                self._work_or_back_off()
            if self._stop_by is not None and self._may_stop(self._stop_by):
                break
        with self._working:
            self._disconnect()

    def _work_or_back_off(self) -> None:
        try:
            self._work()
        except DATABASE_AWAY as error:
            self._back_off(error)
        except Exception:
            # The last line of defence: without this thread nothing is ever written.
            logger.exception("tracker_writer_failed")
            self._back_off(None)
        if settings.DEBUG:
            reset_queries()

    def _may_stop(self, stop_by: float) -> bool:
        if not self._dirty and not self._calls:
            return True
        is_late = time.monotonic() >= stop_by
        if is_late:
            jobs = [buffer.attempt.job_id for buffer in self._dirty]
            logger.error("tracker_changes_lost_at_exit", extra={"job_ids": jobs})
        return is_late

    def _receive(self, seconds: float | None) -> None:
        """Waits for a call, a wake-up or the time when something is due."""
        try:
            call = self._inbox.get(timeout=seconds)
            while True:
                if call is not None:
                    self._calls.append(call)
                call = self._inbox.get_nowait()
        except queue.Empty:
            pass

    def _seconds_until_due(self) -> float | None:
        """None: nothing will be due until somebody asks."""
        if self._stop_by is not None:
            return max(0.0, self._retry_at - time.monotonic())
        due: list[float] = []
        if self._calls:
            due.append(self._retry_at)
        if self._dirty:
            due.append(max(self._flush_at, self._retry_at))
        if self._live:
            due.append(max(self._heartbeat_at, self._retry_at))
        if not due:
            self._disconnect()
            return None
        return max(0.0, min(due) - time.monotonic())

    def _work(self) -> None:
        now = time.monotonic()
        if now < self._retry_at:
            self._expire_calls(now)
            return
        self._perform_calls()
        if self._dirty and (now >= self._flush_at or self._stop_by is not None):
            self._flush_at = now + conf.flush_interval_seconds
            self._flush()
        if self._live and now >= self._heartbeat_at:
            self._beat()  # due again after the pause if it fails
            self._heartbeat_at = now + conf.heartbeat_seconds
        if self._retry_seconds:
            logger.info("tracker_database_back")
            self._retry_seconds = 0.0

    def _perform_calls(self) -> None:
        while self._calls:
            call = self._calls[0]
            if call.future.cancelled():
                self._calls.pop(0)
                continue
            try:
                result = call.write()
            except DATABASE_AWAY as error:
                if is_transient(error) and time.monotonic() < call.deadline:
                    raise
                self._answer(call, error=TimeoutError() if is_transient(error) else error)
            except Exception as error:  # noqa: BLE001  (it is the caller's to handle)
                self._answer(call, error=error)
            else:
                self._answer(call, result=result)

    def _answer(self, call: _Call, *, result: Any = None, error: Exception | None = None) -> None:
        self._calls.remove(call)
        if not call.future.set_running_or_notify_cancel():
            return
        if error is None:
            call.future.set_result(result)
        else:
            call.future.set_exception(error)

    def _expire_calls(self, now: float) -> None:
        for call in [call for call in self._calls if now >= call.deadline]:
            self._answer(call, error=TimeoutError())

    def _flush(self) -> None:
        with self._lock:
            buffers, self._dirty = self._dirty, set()
        while buffers:
            buffer = buffers.pop()
            try:
                flush_buffer(buffer)
                self.counts.flushes += 1
            except DATABASE_AWAY:
                with self._lock:
                    self._dirty |= {buffer, *buffers}
                self._flush_at = 0.0  # due again after the pause, not after an interval
                raise

    def _beat(self) -> None:
        """Proves that the running attempts live, and learns whether somebody cancelled them."""
        with self._lock:
            live = list(self._live)
        jobs = Job.objects.using(progress_alias()).filter(
            pk__in={buffer.attempt.job_id for buffer in live},
            epoch__in={buffer.attempt.epoch for buffer in live},
        )
        jobs.running().update(heartbeat_at=timezone.now())
        rows = jobs.values_list("pk", "epoch", "status", "cancel_requested_at")
        found = {row[:2]: row[2:] for row in rows}
        for buffer in live:
            attempt = buffer.attempt
            status, cancel_requested_at = found.get((attempt.job_id, attempt.epoch), ("", None))
            buffer.is_over = status != JobStatus.RUNNING
            buffer.is_cancel_requested = cancel_requested_at is not None

    def _back_off(self, error: Exception | None) -> None:
        self.counts.failures += 1
        if not self._retry_seconds:
            logger.warning("tracker_database_away", extra={"reason": str(error)})
        self._retry_seconds = min(
            LAST_RETRY_SECONDS, self._retry_seconds * 2 or FIRST_RETRY_SECONDS
        )
        self._retry_at = time.monotonic() + self._retry_seconds
        self._disconnect()

    @staticmethod
    def _disconnect() -> None:
        connections[progress_alias()].close()


def holds_sqlite_lock() -> bool:
    """Is this thread inside a transaction on the very SQLite file that progress goes to?

    A second connection would wait for it in vain, so the tracker has to use this one.
    """
    if is_in_event_loop():
        return False
    connection = connections[progress_alias()]
    return connection.vendor == "sqlite" and connection.in_atomic_block


background_writer = BackgroundWriter()
_current: Writer = background_writer


def current_writer() -> Writer:
    """The writer of trackers that are opened now."""
    return _current


def use_writer(writer: Writer) -> Writer:
    """Puts a writer in place and returns the one before."""
    global _current
    before, _current = _current, writer
    return before
