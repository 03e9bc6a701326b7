"""Collects the changes of an attempt in memory until a `Writer` writes them."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from ingestion_progress.exceptions import JobCancelled, JobSuperseded
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import EventLevel
from ingestion_progress.tracker.changes import EventEntry, JobChanges, ThreadCounts
from ingestion_progress.tracker.database import is_transient
from ingestion_progress.tracker.error_groups import error_group
from ingestion_progress.tracker.plan import Attempt
from ingestion_progress.tracker.sql import SUPERSEDED, WriteResult, write_several

logger = logging.getLogger("ingestion_progress.tracker")

Result = TypeVar("Result")

# Bounds how long a transaction holds its locks.
MAX_JOBS_PER_TRANSACTION = 100


class Writer(Protocol):
    """Decides when changes are written, and in which thread."""

    def notice(self, buffer: Buffer, *, is_urgent: bool = False) -> None:
        """The buffer has changes, to be written soon or (urgent) now. Does not wait."""

    def open(self, buffer: Buffer) -> None:
        """The attempt runs in this process, and gets heartbeats."""

    def close(self, buffer: Buffer) -> None:
        """The attempt has ended, or this process has left it."""

    def call(self, write: Callable[[], Result]) -> Result:
        """Writes now and waits. Raises TimeoutError if the database stays down."""

    async def acall(self, write: Callable[[], Result]) -> Result:
        """`call` for async code, without blocking the loop."""

    def postpone(self, job_id: str, write: Callable[[], object]) -> None:
        """Writes the job's end as soon as the database permits it. Does not wait."""


class Buffer:
    """Thread-safe. Changes that could not be written are put back in order."""

    def __init__(self, attempt: Attempt, writer: Writer) -> None:
        self.attempt = attempt
        self.writer = writer
        self.is_cancel_requested = False
        self.is_over = False
        """The attempt has ended, or a newer one owns the job."""
        self.is_noticed = False
        """The writer knows that there is something to write."""
        self.changes = JobChanges()
        self.lock = threading.Lock()
        self.advances: defaultdict[str, ThreadCounts] = defaultdict(ThreadCounts)
        """Processed items by stage, recorded without the lock; `take` adds them to the changes."""

    # For code that records changes

    @contextmanager
    def change(self, *, is_urgent: bool = False) -> Iterator[JobChanges]:
        """The pending changes, locked for the block; the writer is notified afterwards."""
        with self.lock:
            yield self.changes
        if is_urgent or not self.is_noticed:
            self.notice(is_urgent=is_urgent)

    def notice(self, *, is_urgent: bool = False) -> None:
        self.is_noticed = True
        self.writer.notice(self, is_urgent=is_urgent)

    def log(
        self,
        message: str,
        *,
        level: EventLevel | str,
        stage: str = "",
        item: str = "",
        kind: str = "",
    ) -> None:
        """Adds a line to the job's log; one of level `error` counts as an error of this kind."""
        now = database_now()
        entry = EventEntry(at=now, level=EventLevel(level), message=message, stage=stage, item=item)
        if entry.level is not EventLevel.ERROR:
            with self.change() as changes:
                changes.add_event(entry)
            return
        group = error_group(message, at=now, stage=stage, item=item, kind=kind)
        with self.change() as changes:
            changes.add_event(entry)
            changes.counters["error_count"].delta += 1
            changes.errors.add(group)

    def log_line(self, message: str, *, level: EventLevel) -> None:
        """Adds a line to the job's log, which counts as no error of the job."""
        with self.change() as changes:
            changes.add_event(EventEntry(at=database_now(), level=level, message=message))

    def add_failure(self, reason: str, kind: str = "") -> None:
        """Groups the reason of a failure, which the end of the attempt logs."""
        group = error_group(reason, at=database_now(), kind=kind)
        with self.lock:
            self.changes.errors.add(group)

    def raise_if_cancelled(self) -> None:
        """Raises JobCancelled, or JobSuperseded if the attempt is over."""
        if self.is_cancel_requested:
            raise JobCancelled(self.attempt.job_id)
        if self.is_over:
            raise JobSuperseded(self.attempt.job_id)

    # For writers

    def take(self) -> JobChanges:
        """All pending changes; the buffer is empty afterwards."""
        with self.lock:
            self.is_noticed = False  # before the sums: a later advance notifies the writer again
            for stage, counts in list(self.advances.items()):
                if added := counts.take():
                    self.changes.stages[stage].counters["processed"].delta += added
            taken, self.changes = self.changes, JobChanges()
            return taken

    def put_back(self, taken: JobChanges) -> None:
        """Puts unwritten changes before those that were added since."""
        with self.lock:
            taken.follow(self.changes)
            self.changes = taken

    def forget(self) -> None:
        """Empties the buffer of a forked child: the parent writes the changes, and may hold the
        lock.
        """
        self.lock = threading.Lock()
        self.take()

    def flush(self) -> None:
        """Writes what is pending, if anything is. Raises only transient errors."""
        flush_all([self])

    def write(self, write: Callable[[Attempt, JobChanges], WriteResult]) -> WriteResult:
        """Calls `write` with all pending changes; puts them back if it raises."""
        changes = self.take()
        try:
            result = write(self.attempt, changes)
        except JobSuperseded:
            self.is_over = True
            raise
        except Exception:
            self.put_back(changes)
            if changes:  # the writer may have found the buffer empty meanwhile
                self.notice()
            raise
        self.learn(result)
        return result

    def learn(self, result: WriteResult | None) -> None:
        """Records the state of the job; None: the attempt is superseded."""
        self.is_cancel_requested = result is not None and result.is_cancel_requested
        self.is_over = result is None or result.status.is_final

    def receive(self, changes: JobChanges, result: WriteResult | None) -> bool:
        """Takes the result of a flush; None puts the changes back. Returns False then."""
        if result is None:
            self.put_back(changes)
            return False
        if result is SUPERSEDED:
            self.is_over = True
            logger.warning("tracker_superseded", extra={"job_id": self.attempt.job_id})
        else:
            self.learn(result)
        return True


def flush_all(buffers: Iterable[Buffer]) -> set[Buffer]:
    """Writes what is pending, many jobs in one transaction. Returns the buffers whose jobs are
    locked by somebody else.

    Changes that cannot be written are logged and dropped, and do not hold up those of other jobs.
    Raises transient errors; what is not written then is still pending.
    """
    waiting = list(buffers)
    locked: set[Buffer] = set()
    while waiting:
        group, waiting = waiting[:MAX_JOBS_PER_TRANSACTION], waiting[MAX_JOBS_PER_TRANSACTION:]
        locked |= _flush_group(group)
    return locked


def _flush_group(buffers: Iterable[Buffer]) -> set[Buffer]:
    pending = [(buffer, changes) for buffer in buffers if (changes := buffer.take())]
    if not pending:
        return set()
    try:
        results = write_several([(buffer.attempt, changes) for buffer, changes in pending])
    except Exception as error:
        is_refused = not is_transient(error)
        if is_refused and len(pending) == 1:
            # A driver refuses some values with errors of other classes.
            job_id = pending[0][0].attempt.job_id
            logger.exception("tracker_changes_refused", extra={"job_id": job_id})
            return set()
        for buffer, changes in pending:
            buffer.put_back(changes)
        if is_refused:
            return {each for buffer, _ in pending for each in _flush_group([buffer])}
        raise
    received = zip(pending, results, strict=True)
    return {buffer for (buffer, changes), result in received if not buffer.receive(changes, result)}
