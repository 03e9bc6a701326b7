"""The status of a stage, changed by blocks and by calls."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import Any, Self

from ingestion_progress.exceptions import JobCancelled, JobSuperseded
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import EventLevel, StageStatus
from ingestion_progress.tracker.buffer import Buffer

# These end a stage from outside.
INTERRUPTIONS = (
    *(JobCancelled, JobSuperseded, asyncio.CancelledError),
    *(KeyboardInterrupt, SystemExit, GeneratorExit),
)
# The attribute of an exception that names the stage it came from.
ORIGIN = "ingestion_stage"


class ContextMixin(AbstractContextManager[Any]):
    """A context manager that never waits, so `async with` can use it too."""

    async def __aenter__(self) -> Self:
        self.__enter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.__exit__(*error)  # type: ignore[arg-type]


class StageTransitions(ContextMixin):
    """A block starts the stage, completes it on a normal exit, and fails it on an exception."""

    def __init__(self, buffer: Buffer, name: str) -> None:
        self.name = name
        self._buffer = buffer
        self._is_started = False

    def start(self) -> None:
        """Pending to in progress. May be called again."""
        if not self._is_started:
            self._is_started = True
            self._move_to(StageStatus.IN_PROGRESS)

    def complete(self) -> None:
        self._move_to(StageStatus.COMPLETED)

    def fail(self, reason: str) -> None:
        self._move_to(StageStatus.ERROR)
        self._buffer.log(reason, level=EventLevel.ERROR, stage=self.name)

    def skip(self, reason: str = "") -> None:
        """Takes the stage out of the plan: it no longer counts towards the percentage."""
        self._move_to(StageStatus.SKIPPED)
        message = StoredSentence("Skipped")
        if reason:
            message = StoredSentence("Skipped: %(reason)s", reason=reason)
        self._buffer.log(message, level=EventLevel.INFO, stage=self.name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self._move_to(StageStatus.COMPLETED)
        else:  # the block of the job logs it, once
            self._move_to(StageStatus.ERROR, was_interrupted=not self._is_origin_of(error))

    def _is_origin_of(self, error: BaseException) -> bool:
        """Did the error come from this stage? An error that leaves the blocks of several stages
        came from the first that it left.
        """
        if isinstance(error, INTERRUPTIONS):
            return False
        return bool(vars(error).setdefault(ORIGIN, self.name) == self.name)

    def _move_to(self, status: StageStatus, *, was_interrupted: bool = False) -> None:
        now = database_now()
        with self._buffer.change(is_urgent=True) as changes:
            stage = changes.stages[self.name]
            if not stage.is_final:
                stage.status, stage.was_interrupted = status, was_interrupted
                stage.started_at = stage.started_at or now
                if status.is_ending:
                    stage.finished_at = now
        if status is StageStatus.ERROR:
            self._is_started = False  # the next count starts the stage again
