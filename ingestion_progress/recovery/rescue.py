"""Finds jobs whose process died, and queues the tasks of attempts that are due.

All times are those of the database's clock. `RescueWatch` stores since when the passes have gone on
without a gap: after an outage of the database every writer gets a whole lease (LOST_AFTER_SECONDS)
to send a heartbeat again. Any number of processes may call `rescue_pass`; one of them does it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Case, Exists, F, Q, QuerySet, When
from django.db.models.functions import Coalesce, Now

from ingestion_progress.conf import conf
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models import Job, RescueWatch
from ingestion_progress.models.statuses import AttemptStatus, JobStatus
from ingestion_progress.recovery.retention import pruner
from ingestion_progress.recovery.tasks import end_lost_tasks, queue_task
from ingestion_progress.tracker.batches import start_waiting_jobs
from ingestion_progress.tracker.database import (
    is_transient,
    jobs,
    progress_transaction,
    rows,
    unlocked,
)
from ingestion_progress.tracker.endings import NO_HEARTBEAT, follow_up

logger = logging.getLogger("ingestion_progress.recovery")

DIED = StoredSentence("Its worker died.")
# Bounds the time of one pass; the next one continues.
MAX_JOBS_PER_PASS = 500
# The pause before a task that could not be queued is queued again.
QUEUE_AGAIN_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class RescueCounts:
    lost: int = 0
    """Jobs whose process died: they have a new attempt, or have ended."""
    queued: int = 0
    """Tasks of due attempts that were queued."""
    pruned: int = 0
    """Old jobs that were deleted."""


def pass_seconds() -> float:
    """The interval of passes."""
    return conf.lost_after_seconds / 10


def rescue_pass() -> RescueCounts:
    """One look at all jobs, unless another process has just had one. Raises database errors."""
    if not _take_turn():
        return RescueCounts()
    lost = _recover(_silent(), NO_HEARTBEAT)
    start_waiting_jobs()
    return RescueCounts(lost=lost, queued=queue_due_tasks(), pruned=pruner.prune())


def report_death(writer: str) -> RescueCounts:
    """A supervisor saw this process ("host/pid") die: its jobs get a new attempt, or end."""
    lost = _recover(jobs().running().filter(writer=writer), DIED)
    return RescueCounts(lost=lost, queued=queue_due_tasks())


def queue_starved_tasks() -> RescueCounts:
    """Queues the tasks of starved jobs again, because a broker may have lost its messages.

    A task that only waits is then delivered twice, which does nothing.
    """
    limit = Now() - timedelta(seconds=conf.starved_after_seconds)
    waiting = jobs().queued().filter(retry_at=None, waits_for_batch=False).exclude(task="")
    starved = waiting.alias(since=Coalesce("queued_at", "created_at")).filter(since__lte=limit)
    starved.update(retry_at=Now())
    queued = 0
    while more := queue_due_tasks():
        queued += more
    return RescueCounts(queued=queued)


def queue_due_tasks() -> int:
    """Queues the tasks of attempts that are due; returns how many.

    A task is queued at least once: a second delivery finds that its job runs already.
    """
    # SQLite's clock has milliseconds, the column has microseconds.
    due = jobs().queued().filter(retry_at__lte=Now() + timedelta(milliseconds=1))
    return _act_on_each(due, _DueTasks().queue)


def _take_turn() -> bool:
    lease = timedelta(seconds=conf.lost_after_seconds)
    watch = rows(RescueWatch)
    is_due = Q(last_pass_at__lte=Now() - lease / 20)
    if not watch.filter(is_due).exists():
        if watch.exists():
            return False
        first = RescueWatch(id=1, watching_since=Now(), last_pass_at=Now())
        return bool(watch.bulk_create([first], ignore_conflicts=True))
    after_gap = When(last_pass_at__lte=Now() - lease / 4, then=Now())
    turn = watch.filter(is_due).update(
        watching_since=Case(after_gap, default=F("watching_since")), last_pass_at=Now()
    )
    return bool(turn)


def _silent() -> QuerySet[Job]:
    """Running jobs without a heartbeat, if heartbeats have been watched for long enough."""
    lease = timedelta(seconds=conf.lost_after_seconds)
    # One statement: between two, the database might stop for a while.
    are_watched = rows(RescueWatch).filter(
        watching_since__lte=Now() - lease, last_pass_at__gt=Now() - lease / 4
    )
    return jobs().running().filter(Exists(are_watched), heartbeat_at__lte=Now() - lease)


def _recover(lost: QuerySet[Job], reason: str) -> int:
    return _act_on_each(lost, lambda job: end_lost_attempt(job, reason))


def end_lost_attempt(job: Job, reason: str) -> None:
    """Queues the next attempt of a locked, running job whose process died, or ends the job."""
    end_lost_tasks(job)
    follow_up(job, AttemptStatus.LOST, reason, can_run_again=bool(job.task))
    logger.warning(
        "job_rescued" if job.job_status is JobStatus.QUEUED else "job_lost",
        extra={"job_id": job.pk, "attempt": job.attempt, "reason": reason},
    )


class _DueTasks:
    """The tasks of one pass. After a refusal the others wait for the next pass: a broker that does
    not answer costs seconds each time.
    """

    def __init__(self) -> None:
        self._is_refused = False

    def queue(self, job: Job) -> bool:
        if self._is_refused:
            return False
        try:
            with progress_transaction():  # a savepoint: the row is written even if this fails
                queue_task(job)
        except Exception as error:
            logger.exception("task_not_queued", extra={"job_id": job.pk, "task": job.task})
            # A task that cannot be imported or called says nothing about the queue.
            self._is_refused = not isinstance(error, ImportError | TypeError)
            again = Now() + timedelta(seconds=QUEUE_AGAIN_SECONDS)
            jobs().filter(pk=job.pk).update(retry_at=again)
            return False
        jobs().filter(pk=job.pk).update(retry_at=None)
        return True


def _act_on_each(found: QuerySet[Job], act: Callable[[Job], object]) -> int:
    """Returns on how many, without those for which `act` returns False. One that fails does not
    hold up the others. Raises only database errors that may pass.
    """
    job_ids = list(found.order_by().values_list("pk", flat=True)[:MAX_JOBS_PER_PASS])
    return sum(_act_on(job_id, found, act) for job_id in job_ids)


def _act_on(job_id: str, still: QuerySet[Job], act: Callable[[Job], object]) -> bool:
    try:
        return _with_locked(job_id, still, act)
    except Exception as error:
        if is_transient(error):
            raise
        logger.exception("job_not_rescued", extra={"job_id": job_id})
        return False


def _with_locked(job_id: str, still: QuerySet[Job], act: Callable[[Job], object]) -> bool:
    """Acts on the job in one transaction, if `still` matches it and no other process locks it."""
    with progress_transaction():
        job = unlocked(still).filter(pk=job_id).first()
        if job is None:
            return False
        return act(job) is not False
