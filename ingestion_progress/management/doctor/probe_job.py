"""The job that the doctor sends through the proxies, and removes at the end."""

import time
from contextlib import suppress
from typing import Self

from ingestion_progress.exceptions import JobNotFound, ProgressUnavailable
from ingestion_progress.models import new_job_id
from ingestion_progress.tracker import delete_job, track
from ingestion_progress.wire.snapshots import load_snapshot

STAGE = "probe"
STEPS = 4


class ProbeJob:
    """A context manager: leaving it deletes the job, however it ended."""

    def __init__(self) -> None:
        self.id = f"doctor-{new_job_id()}"
        self.unknown_id = f"{self.id}-unknown"
        """An id that no job has."""
        self.written_at: dict[int, float] = {}
        """When each step was written, by `time.monotonic`."""
        self._has_begun = False
        # `restart`: the job may be in the database although an interrupt ended `start`.
        self._tracker = track("manage.py doctor", job_id=self.id, stages=[STAGE], restart=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._has_begun and not self._tracker.has_ended:
            # A write that an interrupt left in progress must finish before the job is deleted.
            with suppress(ProgressUnavailable):
                self._tracker.flush()
            self._tracker.leave()
        with suppress(JobNotFound):
            delete_job(self.id, even_if_running=True)

    def start(self) -> None:
        """Raises ProgressUnavailable."""
        self._has_begun = True
        self._tracker.start()
        self.written_at[0] = time.monotonic()
        self._tracker.stage(STAGE, total=STEPS + 1, unit="steps").start()
        self._tracker.flush()

    def step(self) -> None:
        number = len(self.written_at)
        self._tracker.stage(STAGE).set(processed=number)
        self._tracker.flush()
        self.written_at[number] = time.monotonic()

    def complete(self) -> None:
        self._tracker.complete()

    def last_event_id(self) -> str:
        """The `id:` of its last state."""
        snapshot = load_snapshot(self.id)
        if snapshot is None:
            raise JobNotFound(self.id)
        return snapshot.cursor
