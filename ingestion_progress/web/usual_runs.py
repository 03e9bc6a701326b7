"""How earlier jobs with the same stages went: when each of their stages began and ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from django.db.models import F

from ingestion_progress.conf import conf
from ingestion_progress.models import JobSamples, Stage
from ingestion_progress.models.spans import Span, milliseconds_between
from ingestion_progress.models.statuses import StageStatus
from ingestion_progress.tracker.former_jobs import plan_digest
from ingestion_progress.wire.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class UsualRun:
    """The medians of earlier jobs that succeeded; without any, all is 0."""

    jobs: int = 0
    whole_ms: int = 0
    spans: dict[str, Span] = field(default_factory=dict)
    """The spans by name of a stage."""


def usual_run(snapshot: Snapshot, stored: JobSamples | None) -> UsualRun:
    """The usual run: that of the newest jobs that had succeeded before this one began. Two queries.

    `stored`: the samples of the job, which know what jobs are comparable.
    """
    job = snapshot.job
    plan = (stored.plan if stored else "") or plan_digest(job, snapshot.stages)
    found = JobSamples.objects.filter(
        plan=plan, attempt=F("job__attempt"), succeeded_at__isnull=False
    ).exclude(job=job)
    if job.started_at:
        found = found.filter(succeeded_at__lt=job.started_at)
    columns = ("job_id", "job__started_at", "job__finished_at")
    newest = found.order_by("-succeeded_at").values_list(*columns)[: max(0, conf.former_jobs)]
    runs = {job_id: (start, end) for job_id, start, end in newest if start and end}
    stages = Stage.objects.filter(job__in=list(runs), status=StageStatus.COMPLETED)
    times = stages.order_by().values_list("job_id", "name", "started_at", "finished_at")
    return UsualRun(
        jobs=len(runs),
        whole_ms=_median(milliseconds_between(*run) for run in runs.values()),
        spans=_median_spans(
            (name, [milliseconds_between(runs[job_id][0], each) for each in (start, end)])
            for job_id, name, start, end in times
            if start and end and start >= runs[job_id][0]
        ),
    )


def _median_spans(spans: Iterable[tuple[str, Sequence[int]]]) -> dict[str, Span]:
    by_stage = defaultdict(list)
    for name, span in spans:
        by_stage[name].append(span)
    return {
        name: Span(*(_median(each) for each in zip(*found, strict=True)))
        for name, found in by_stage.items()
    }


def _median(values: Iterable[int]) -> int:
    found = list(values)
    return round(median(found)) if found else 0
