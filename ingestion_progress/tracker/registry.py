"""The trackers that a process keeps between calls, by job id."""

import threading
from collections.abc import Callable
from typing import TypeVar

from ingestion_progress.exceptions import JobNotFound, JobSuperseded, UnknownStage
from ingestion_progress.tracker.contexts import AttachedJob
from ingestion_progress.tracker.database import jobs, timeout_as_unavailable
from ingestion_progress.tracker.jobs import JobTracker
from ingestion_progress.tracker.writer import current_writer

Result = TypeVar("Result")

# Raised if another process has started the job again, perhaps with other stages.
STARTED_AGAIN = (JobSuperseded, UnknownStage)
# An error names some running jobs, so that a mistyped id is easy to see.
MAX_RUNNING_NAMED = 5


class TrackerRegistry:
    """Thread-safe. Joins a job of another process when it is first used."""

    def __init__(self) -> None:
        self._trackers: dict[str, JobTracker] = {}
        self._lock = threading.Lock()

    def kept(self, job_id: str) -> JobTracker | None:
        with self._lock:
            return self._trackers.get(job_id)

    def get(self, job_id: str) -> JobTracker:
        """The tracker of a running attempt, joined if this process has none. Raises JobNotFound."""
        tracker = self.kept(job_id)
        return self.join(job_id) if tracker is None or tracker.buffer.is_over else tracker

    def join(self, job_id: str) -> JobTracker:
        """The tracker of the current attempt in the database. Raises JobNotFound."""
        tracker = AttachedJob(job_id, even_if_ended=True)
        try:
            tracker.start()
        except JobNotFound:
            raise JobNotFound(job_id, call_writer(job_id, "start", _some_running)) from None
        return self.keep(tracker)

    def keep(self, tracker: JobTracker) -> JobTracker:
        """Keeps this tracker, or the kept one if it is of the same attempt. The other one leaves
        the job.
        """
        with self._lock:
            other = self._trackers.pop(tracker.job_id, None)
            self._forget_ended()
            if other is not None and other.buffer.attempt.epoch == tracker.buffer.attempt.epoch:
                tracker, other = other, tracker
            self._trackers[tracker.job_id] = tracker
        if other is not None:
            other.leave()
        return tracker

    def remove(self, job_id: str) -> None:
        with self._lock:
            tracker = self._trackers.pop(job_id, None)
        if tracker is not None:
            tracker.leave()

    def _forget_ended(self) -> None:
        """Bounds the memory of a long-lived process. The lock is held."""
        for job_id, tracker in list(self._trackers.items()):
            if tracker.buffer.is_over:
                del self._trackers[job_id]
                tracker.leave()


def call_writer(job_id: str, action: str, write: Callable[[], Result]) -> Result:
    """Calls `write` in the writer's thread. Raises ProgressUnavailable if that takes too long."""
    with timeout_as_unavailable(job_id, action):
        return current_writer().call(write)


def _some_running() -> list[str]:
    return list(jobs().running().values_list("pk", flat=True)[:MAX_RUNNING_NAMED])
