"""What `track` and `attach` return, and what the end of their blocks does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Self

from ingestion_progress.exceptions import JobCancelled, JobSuperseded, ProgressUnavailable
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models.statuses import AttemptStatus, EventLevel, JobStatus
from ingestion_progress.tracker.current import back_to, set_current
from ingestion_progress.tracker.endings import ON_REQUEST, finish_attempt, hand_back_attempt
from ingestion_progress.tracker.error_messages import kind_of
from ingestion_progress.tracker.jobs import Ending, JobTracker, log_unrecorded_end
from ingestion_progress.tracker.lifecycle import join_attempt, start_attempt
from ingestion_progress.tracker.log_capture import LogCapture, set_capture
from ingestion_progress.tracker.plan import Attempt, JobPlan
from ingestion_progress.tracker.reasons import reason_of

STOPPED = StoredSentence("Its worker was stopped; the job continues with another one.")

logger = logging.getLogger("ingestion_progress.tracker")


class JobContext(JobTracker):
    """For a `with` or `async with` block, in which it is the current job."""

    _outer: JobTracker | None = None
    """The current job outside of the block."""

    def __enter__(self) -> Self:
        self.start()
        self._begin()
        return self

    async def __aenter__(self) -> Self:
        await self.astart()
        self._begin()
        return self

    def _begin(self) -> None:
        self._outer = set_current(self)


class TrackedJob(JobContext):
    """What `track` returns: the end of the block ends the job."""

    def __init__(
        self,
        plan: JobPlan,
        *,
        restart: bool,
        retry_on: tuple[type[BaseException], ...] = (),
        log_capture: LogCapture | None = None,
    ) -> None:
        super().__init__(plan.job_id)
        self._log_capture = log_capture
        self._outer_capture: LogCapture | None = None
        self._plan = plan
        self._restart = restart
        self._retry_on = retry_on

    def _open(self) -> Attempt:
        return start_attempt(self._plan, restart=self._restart)

    def _begin(self) -> None:
        super()._begin()
        self._outer_capture = set_capture(self._log_capture)
        if self._log_capture is not None:
            self._log_capture.start(self.buffer)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._stop_capture()
        with back_to(self._outer):
            if not self.has_ended:
                with _without_masking(error, self.job_id):
                    self._end(self._ending(error))

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._stop_capture()
        with back_to(self._outer):
            if not self.has_ended:
                with _without_masking(error, self.job_id):
                    await self._aend(self._ending(error))

    def _stop_capture(self) -> None:
        set_capture(self._outer_capture)
        if self._log_capture is not None:
            self._log_capture.stop()

    def _ending(self, error: BaseException | None) -> Ending:
        if error is None:
            return partial(finish_attempt, status=JobStatus.SUCCEEDED)
        if isinstance(error, JobCancelled):
            return partial(finish_attempt, status=JobStatus.CANCELLED, error=ON_REQUEST)
        if self.buffer.attempt.task and isinstance(error, KeyboardInterrupt | SystemExit):
            return partial(hand_back_attempt, ending=AttemptStatus.INTERRUPTED, reason=STOPPED)
        reason = reason_of(error)
        self.buffer.add_failure(reason, kind_of(error))
        if isinstance(error, self._retry_on):
            return partial(hand_back_attempt, ending=AttemptStatus.FAILED, reason=reason)
        return partial(finish_attempt, status=JobStatus.FAILED, error=reason)


class AttachedJob(JobContext):
    """What `attach` returns: the end of the block writes what is pending; the job continues."""

    def __init__(self, job_id: str, *, even_if_ended: bool = False) -> None:
        super().__init__(job_id)
        self._even_if_ended = even_if_ended

    def _open(self) -> Attempt:
        return join_attempt(self.job_id, even_if_ended=self._even_if_ended)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        with back_to(self._outer), self._leaving(error):
            self.flush()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        with back_to(self._outer), self._leaving(error):
            await self.aflush()

    @contextmanager
    def _leaving(self, error: BaseException | None) -> Iterator[None]:
        if error is not None and not isinstance(error, JobCancelled):
            self.buffer.log(reason_of(error), level=EventLevel.ERROR, kind=kind_of(error))
        with _without_masking(error, self.job_id):
            try:
                yield
            except JobSuperseded:
                logger.warning("tracker_superseded", extra={"job_id": self.job_id})
            except ProgressUnavailable:
                # The writer keeps the changes and tries again.
                logger.warning("tracker_left_unwritten", extra={"job_id": self.job_id})
            finally:
                self.leave()


@contextmanager
def _without_masking(error: BaseException | None, job_id: str) -> Iterator[None]:
    """Logs an exception of the block's end if the task raised one already, which is re-raised."""
    try:
        yield
    except Exception as failure:
        if error is None:
            raise
        log_unrecorded_end(job_id, failure)
