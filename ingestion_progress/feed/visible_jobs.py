"""What a rule of the project (VISIBLE_JOBS) shows on streams of active jobs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from django.core.exceptions import EmptyResultSet

from ingestion_progress.feed.queries import MAX_ENDED
from ingestion_progress.models.jobs import JobQuerySet


@dataclass(eq=False, slots=True)
class VisibleJobs:
    """The answer to one query: which active jobs, and jobs that ended lately, are visible.

    Times are those of `time.monotonic`.
    """

    jobs: JobQuerySet
    key: str
    """The query as text."""
    ids: set[str]
    asked_at: float
    """Jobs that the feed had found by then are visible only if they are in `ids`."""
    is_behind: bool = False
    """The feed has found jobs since."""

    @classmethod
    def read(cls, jobs: JobQuerySet, ended_since: datetime) -> Self:
        """Queries the database twice."""
        asked_at = time.monotonic()
        ended = jobs.filter(finished_at__gte=ended_since).order_by("-finished_at")
        ids = set(jobs.active().values_list("pk", flat=True))
        ids.update(ended.values_list("pk", flat=True)[:MAX_ENDED])
        return cls(jobs=jobs, key=query_key(jobs), ids=ids, asked_at=asked_at)


def query_key(jobs: JobQuerySet) -> str:
    """Is equal for equal queries."""
    try:
        return repr(jobs.query.sql_with_params())
    except EmptyResultSet:
        return ""
