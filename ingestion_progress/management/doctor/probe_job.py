"""The job that is sent through: made for one examination, and removed after it."""

from __future__ import annotations

import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from ingestion_progress.exceptions import JobNotFound, ProgressUnavailable
from ingestion_progress.models import new_job_id
from ingestion_progress.tracker import delete_job, track
from ingestion_progress.wire.snapshots import load_snapshot

PREFIX = "doctor-"
STAGE = "examination"
STEPS = 4


class MarkedJob:
    """For a `with` block, whose end removes it however it ended."""

    def __init__(self) -> None:
        self.id = PREFIX + new_job_id()
        self.unknown_id = f"{self.id}-unknown"
        """That of no job."""
        self.written: dict[int, float] = {}
        """When each step was in the database, in the time of `time.monotonic`."""
        self._has_begun = False
        # An interrupted start may have been carried out: then leaving begins another attempt.
        self._tracker = track("manage.py doctor", job_id=self.id, stages=[STAGE], restart=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._has_begun and not self._tracker.has_ended:
            # An interrupt leaves a write under way, which would find that the job has gone.
            with suppress(ProgressUnavailable):
                self._tracker.flush()
            self._tracker.leave()
        with suppress(JobNotFound):
            delete_job(self.id, even_if_running=True)

    def start(self) -> None:
        """Raises ProgressUnavailable."""
        self._has_begun = True
        self._tracker.start()
        self.written[0] = time.monotonic()
        self._tracker.stage(STAGE, total=STEPS + 1, unit="steps").start()
        self._tracker.flush()

    def step(self) -> None:
        number = len(self.written)
        self._tracker.stage(STAGE).set(processed=number)
        self._tracker.flush()
        self.written[number] = time.monotonic()

    def complete(self) -> None:
        self._tracker.complete()

    def resume_id(self) -> str:
        """What a client that has seen its last state comes back with."""
        snapshot = load_snapshot(self.id)
        if snapshot is None:
            raise JobNotFound(self.id)
        return snapshot.cursor
