"""The orders of the lists of jobs.

Lists by time of creation may have any length: each filter has an index with this time. There is no
index for each filter with the duration or the name, so lists in these orders are of the newest jobs
only, as those that a search finds are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.models import F, Func, Value
from django.db.models.functions import Coalesce, Lower, NullIf
from django.utils.translation import gettext_lazy as _

from ingestion_progress.models.job_search import newest_jobs
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.pagination import OLDEST_FIRST, ORDER, Order


class Difference(Func):
    """Of two times, to sort by. Django's own calls a function of Python for each row of SQLite."""

    template = "(%(expressions)s)"
    arg_joiner = " - "

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template, joiner = "(JULIANDAY(%(expressions)s))", ") - JULIANDAY("
        return self.as_sql(compiler, connection, template=template, arg_joiner=joiner, **context)


DURATION = Difference(F("finished_at"), F("started_at"), output_field=models.DurationField())
NAME = Lower(Coalesce(NullIf("document_name", Value("")), "document_id"))


class JobOrder(models.TextChoices):
    NEWEST = "newest", _("Newest first")
    OLDEST = "oldest", _("Oldest first")
    LONGEST = "longest", _("Longest first")
    SHORTEST = "shortest", _("Shortest first")
    NAME = "name", _("Name, A to Z")

    @property
    def is_by_duration(self) -> bool:
        """Of jobs that have ended."""
        return self in {JobOrder.LONGEST, JobOrder.SHORTEST}

    @property
    def is_of_newest(self) -> bool:
        """Are only the newest jobs listed?"""
        return self.is_by_duration or self is JobOrder.NAME

    @property
    def terms(self) -> Order:
        """What `order_by` takes."""
        match self:
            case JobOrder.LONGEST:
                return (DURATION.desc(), "id")
            case JobOrder.SHORTEST:
                return (DURATION.asc(), "id")
            case JobOrder.NAME:
                return (NAME.asc(), *ORDER)
        return OLDEST_FIRST if self is JobOrder.OLDEST else ORDER

    def of(self, jobs: JobQuerySet) -> JobQuerySet:
        """The jobs that have a place in this order."""
        if not self.is_by_duration:
            return jobs
        return jobs.filter(started_at__isnull=False, finished_at__isnull=False)

    def listed(self, parts: Sequence[JobQuerySet]) -> Sequence[JobQuerySet]:
        """What is listed of these parts; of several only one, if they are sorted together."""
        if not self.is_of_newest:
            return parts
        whole = parts[0]
        for part in parts[1:]:
            whole |= part
        return [newest_jobs(self.of(whole))]
