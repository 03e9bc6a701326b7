"""How long jobs that succeeded took, beside what is usual for jobs with the same stages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median

from django.db.models import F, QuerySet
from django.utils.translation import gettext

from ingestion_progress.conf import conf
from ingestion_progress.models import Job, JobSamples
from ingestion_progress.models.pagination import first_rows
from ingestion_progress.models.spans import milliseconds_between
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.web import formatting
from ingestion_progress.web.job_parts import Context

# The jobs of one page hardly have more different lists of stages.
MAX_PLANS = 20
# Where the bar of a job that took the usual time ends.
USUAL_PERCENT = 50


def usual_durations(jobs: Iterable[Job]) -> dict[str, int]:
    """Milliseconds by id of a job: the median of the newest other jobs that are comparable.

    Jobs that did not succeed have none. At most two queries.
    """
    ids = [job.pk for job in jobs if job.job_status is JobStatus.SUCCEEDED]
    plans = _plans(ids) if ids and conf.former_jobs > 0 else {}
    runs = _newest_runs(plans.values())
    usual = {}
    for job_id, plan in plans.items():
        others = [took for other, took in runs[plan].items() if other != job_id]
        if others:
            usual[job_id] = round(median(others[: conf.former_jobs]))
    return usual


def duration_bar(took_ms: int, usual_ms: int) -> Context | None:
    """Its width in percent and its texts; None without a usual duration.

    The page of the job shows what was usual when it began: the texts say that this is of now.
    """
    if usual_ms <= 0:
        return None
    took, usual = formatting.exact_duration(took_ms), formatting.exact_duration(usual_ms)
    return {
        "percent": min(100, round(USUAL_PERCENT * took_ms / usual_ms)),
        "usual_percent": USUAL_PERCENT,
        "text": gettext("%(time)s, now usual %(usual)s") % {"time": took, "usual": usual},
        "usual_text": gettext("now usual %(time)s") % {"time": usual},
    }


def _plans(job_ids: list[str]) -> dict[str, str]:
    """What makes the jobs comparable, by their ids."""
    found = _comparable().filter(job__in=job_ids).values_list("job_id", "plan")
    return dict(found)


def _newest_runs(plans: Iterable[str]) -> Mapping[str, Mapping[str, int]]:
    """Durations by plan and id of a job, the newest first."""
    parts = [
        (_comparable().filter(plan=plan).order_by("-succeeded_at"), conf.former_jobs + 1)
        for plan in list(dict.fromkeys(plans))[:MAX_PLANS]
    ]
    runs: defaultdict[str, dict[str, int]] = defaultdict(dict)
    if parts:
        columns = ("plan", "job_id", "job__started_at", "job__finished_at")
        newest = JobSamples.objects.filter(pk__in=first_rows(parts).values("pk"))
        for plan, job_id, start, end in newest.order_by("-succeeded_at").values_list(*columns):
            if start and end:
                runs[plan][job_id] = milliseconds_between(start, end)
    return runs


def _comparable() -> QuerySet[JobSamples]:
    """The samples of jobs that succeeded, of the attempt whose times the jobs have."""
    return JobSamples.objects.filter(succeeded_at__isnull=False, attempt=F("job__attempt")).exclude(
        plan=""
    )
