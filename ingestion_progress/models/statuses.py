"""The statuses of jobs, stages and workers, and their allowed transitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """A fixed list of statuses that declares its allowed transitions."""

    @classmethod
    def successors(cls) -> Mapping[Self, frozenset[Self]]:
        """The statuses that may follow each status; a status that is left out is final."""
        raise NotImplementedError

    @property
    def is_final(self) -> bool:
        return self not in self.successors()

    @property
    def predecessors(self) -> frozenset[Self]:
        """The statuses that may become this one."""
        return frozenset(
            status for status, followers in self.successors().items() if self in followers
        )


class JobStatus(Status):
    QUEUED = "queued", _("Queued")
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    LOST = "lost", _("Lost")

    @classmethod
    def successors(cls) -> Mapping[Self, frozenset[Self]]:
        """Only a new attempt leaves a final status; it resets the row."""
        endings = frozenset({cls.FAILED, cls.CANCELLED, cls.LOST})
        return {
            cls.QUEUED: endings | {cls.RUNNING},
            cls.RUNNING: endings | {cls.SUCCEEDED},
        }

    @property
    def has_succeeded(self) -> bool:
        return self is JobStatus.SUCCEEDED

    @classmethod
    def final(cls) -> frozenset[Self]:
        return frozenset(status for status in cls if status.is_final)

    @classmethod
    def active(cls) -> frozenset[Self]:
        """Queued or running."""
        return frozenset(cls) - cls.final()


class JobResult(models.TextChoices):
    """How a job ended: its status, except that a success with failed items is `partial`."""

    SUCCEEDED = "succeeded", _("Succeeded")
    PARTIAL = "partial", _("Succeeded with errors")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    LOST = "lost", _("Lost")


class AttemptStatus(models.TextChoices):
    """How an attempt ended."""

    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    LOST = "lost", _("Lost")
    INTERRUPTED = "interrupted", _("Handed back")
    """Its worker was stopped, or `track(…, restart=True)` started the job again while it ran."""


class StageStatus(Status):
    PENDING = "pending", _("Pending")
    IN_PROGRESS = "in_progress", _("In progress")
    COMPLETED = "completed", _("Completed")
    ERROR = "error", _("Error")
    # This status is not on the wire: `stages` has no skipped stage.
    SKIPPED = "skipped", _("Skipped")

    @classmethod
    def successors(cls) -> Mapping[Self, frozenset[Self]]:
        return {
            cls.PENDING: frozenset({cls.IN_PROGRESS, cls.COMPLETED, cls.ERROR, cls.SKIPPED}),
            cls.IN_PROGRESS: frozenset({cls.COMPLETED, cls.ERROR, cls.SKIPPED}),
            # A failed stage may be tried again within the same attempt.
            cls.ERROR: frozenset({cls.IN_PROGRESS, cls.COMPLETED, cls.SKIPPED}),
        }

    @property
    def is_ending(self) -> bool:
        """Does the duration of the stage end with this status?"""
        return self in {self.COMPLETED, self.ERROR, self.SKIPPED}


class ShownStageStatus(models.TextChoices):
    """What people see of a stage: its status, and what the end of its job made of it."""

    PENDING = StageStatus.PENDING.value, StageStatus.PENDING.label
    IN_PROGRESS = StageStatus.IN_PROGRESS.value, StageStatus.IN_PROGRESS.label
    COMPLETED = StageStatus.COMPLETED.value, StageStatus.COMPLETED.label
    ERROR = StageStatus.ERROR.value, StageStatus.ERROR.label
    SKIPPED = StageStatus.SKIPPED.value, StageStatus.SKIPPED.label
    STOPPED = "stopped", _("Stopped")
    NOT_RUN = "not_run", _("Not run")


class WorkerStatus(models.TextChoices):
    IDLE = "idle", _("Idle")
    PROCESSING = "processing", _("Processing")
    ERROR = "error", _("Error")


class EventLevel(models.TextChoices):
    INFO = "info", _("Info")
    WARNING = "warning", _("Warning")
    ERROR = "error", _("Error")


class ForecastReason(models.TextChoices):
    """Why a job's forecast is unknown, or only a guess; never stored."""

    QUEUED = "queued", _("Waiting for a worker")
    STARTING = "starting", _("Estimating…")
    NO_HISTORY = "no_history", _("No history yet")
    STALLED = "stalled", _("No progress")
    LOST = "lost", _("No sign of life")
    OVERDUE = "overdue", _("Later than expected")
    WAITING = "waiting", _("Waiting for a service")


class Liveness(models.TextChoices):
    """Whether an unfinished job is alive, from its heartbeat and its last change; never stored."""

    QUEUED = "queued", _("Waiting for a worker")
    STARVED = "starved", _("Waiting longer than expected: is a worker running?")
    WORKING = "working", _("Working")
    STALLED = "stalled", _("Alive, but without progress")
    SILENT = "silent", _("No recent sign of life")
    """Its process may still be late; with LOST it is given up."""
    LOST = "lost", _("No sign of life")

    @property
    def is_alive(self) -> bool:
        """Is its process expected to go on?"""
        return self in {self.WORKING, self.STALLED, self.SILENT}
