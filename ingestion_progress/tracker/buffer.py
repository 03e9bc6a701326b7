"""The place where a process collects the changes of one attempt until they are written."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingestion_progress.tracker.changes import JobChanges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingestion_progress.tracker.sql import Recorded
    from ingestion_progress.tracker.writers import Writer


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try at a job, as its writers know it."""

    job_id: str
    epoch: str
    document_id: str
    stage_names: tuple[str, ...]


class Buffer:
    """Thread-safe. A writer empties it; what could not be written comes back in order."""

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

    @contextmanager
    def change(self, *, is_urgent: bool = False) -> Iterator[JobChanges]:
        """The pending changes, to be added to; the writer is told afterwards."""
        with self.lock:
            yield self.changes
        if is_urgent or not self.is_noticed:
            self.notice(is_urgent=is_urgent)

    def notice(self, *, is_urgent: bool = False) -> None:
        self.is_noticed = True
        self.writer.notice(self, is_urgent=is_urgent)

    def take(self) -> JobChanges:
        """All that is pending; the buffer is empty afterwards."""
        with self.lock:
            self.is_noticed = False
            taken, self.changes = self.changes, JobChanges()
            return taken

    def forget(self) -> None:
        """In a forked child: what was pending is the parent's to write, and so is its lock."""
        self.lock = threading.Lock()
        self.is_noticed = False
        self.changes = JobChanges()

    def put_back(self, taken: JobChanges) -> None:
        """What was taken could not be written; what came since follows it."""
        with self.lock:
            taken.follow(self.changes)
            self.changes = taken

    def learn(self, recorded: Recorded) -> None:
        """A write has found out how the job stands."""
        self.is_cancel_requested = recorded.is_cancel_requested
        self.is_over = recorded.status.is_final
