"""What people look for in the list of jobs: each job is in one of four groups."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ingestion_progress.conf import conf
from ingestion_progress.models.jobs import SILENT_SHARE, Job, JobQuerySet
from ingestion_progress.models.pagination import RowCount, count_parts
from ingestion_progress.models.statuses import JobResult, JobStatus, Liveness


class JobGroup(models.TextChoices):
    ATTENTION = "attention", _("Attention")
    """Failed, lost, succeeded with errors, or running without news."""
    RUNNING = "running", _("Running")
    WAITING = "waiting", _("Waiting")
    DONE = "done", _("Done")
    """Succeeded without errors, or cancelled."""

    @classmethod
    def of(cls, job: Job, now: datetime) -> JobGroup:
        """The group at `now`, as `parts` finds it."""
        if job.job_status is JobStatus.QUEUED:
            return cls.WAITING
        if job.job_status is JobStatus.RUNNING:
            return cls.RUNNING if job.liveness(now) is Liveness.WORKING else cls.ATTENTION
        has_ended_well = job.result in {JobResult.SUCCEEDED, JobResult.CANCELLED}
        return cls.DONE if has_ended_well else cls.ATTENTION

    def parts(self, jobs: JobQuerySet, now: datetime) -> list[JobQuerySet]:
        """The jobs of the group: each part is a range of an index."""
        match self:
            case JobGroup.WAITING:
                return [jobs.queued()]
            case JobGroup.RUNNING:
                return [jobs.running().filter(_has_news(now))]
            case JobGroup.DONE:
                return [
                    jobs.with_result(JobResult.SUCCEEDED),
                    jobs.with_result(JobResult.CANCELLED),
                ]
        ended = [JobResult.PARTIAL, JobResult.FAILED, JobResult.LOST]
        silent = jobs.running().filter(_has_no_news(now))
        return [silent, *(jobs.with_result(result) for result in ended)]


def count_groups(jobs: JobQuerySet, now: datetime) -> dict[JobGroup, RowCount]:
    """The number of jobs in each group, counted up to a limit. One query, of indexes only but for
    the running jobs.
    """
    by_status = {status.value: jobs.filter(status=status) for status in JobStatus}
    counts = count_parts(
        by_status
        | {
            "partial": jobs.with_result(JobResult.PARTIAL),
            "silent": jobs.running().filter(_has_no_news(now)),
        }
    )
    succeeded = counts["succeeded"].without(counts["partial"])
    attention = [counts[name] for name in ("silent", "partial", "failed", "lost")]
    return {
        JobGroup.ATTENTION: RowCount.sum(attention),
        JobGroup.RUNNING: counts["running"].without(counts["silent"]),
        JobGroup.WAITING: counts["queued"],
        JobGroup.DONE: RowCount.sum([succeeded, counts["cancelled"]]),
    }


def _has_no_news(now: datetime) -> Q:
    """Selects silent, lost and stalled jobs among running ones (`Job.liveness`)."""
    silent, stalled = _limits(now)
    return (
        Q(heartbeat_at__lt=silent)
        | Q(heartbeat_at=None, updated_at__lt=silent)
        | Q(updated_at__lt=stalled, waiting_for="")
    )


def _has_news(now: datetime) -> Q:
    """The opposite, without a NOT, which would have to consider NULL."""
    silent, stalled = _limits(now)
    is_alive = Q(heartbeat_at__gte=silent) | Q(heartbeat_at=None, updated_at__gte=silent)
    return is_alive & (Q(updated_at__gte=stalled) | Q(waiting_for__gt=""))


def _limits(now: datetime) -> tuple[datetime, datetime]:
    silent = timedelta(seconds=conf.lost_after_seconds * SILENT_SHARE)
    return now - silent, now - timedelta(seconds=conf.stalled_after_seconds)
