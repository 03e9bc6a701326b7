"""The orders of the lists of jobs.

Lists by time of creation may have any length: each filter has an index with this time. There is no
index for each filter with the duration or the name, so lists in these orders are of the newest jobs
only, as those that a search finds are. Places in all of them are values, not numbers.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.models import F, Func, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Lower, NullIf
from django.db.models.lookups import Exact, GreaterThan, LessThan
from django.utils.translation import gettext_lazy as _

from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.models.job_search import newest_jobs
from ingestion_progress.models.jobs import Job, JobQuerySet
from ingestion_progress.models.pagination import (
    INVALID_CURSOR,
    ByCreation,
    ListCursor,
    Order,
    Ordering,
    Row,
    microseconds,
)


class Difference(Func):
    """The difference of two times, to sort by. Django's calls Python for each row of SQLite."""

    template = "(%(expressions)s)"
    arg_joiner = " - "

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template, joiner = "(JULIANDAY(%(expressions)s))", ") - JULIANDAY("
        return self.as_sql(compiler, connection, template=template, arg_joiner=joiner, **context)


DURATION = Difference(F("finished_at"), F("started_at"), output_field=models.DurationField())
NAME = Lower(Coalesce(NullIf("document_name", Value("")), "document_id"))


@dataclass(frozen=True, slots=True)
class ByDuration:
    """A cursor has the times of start and end, of which the database computes what it sorts by."""

    is_shortest_first: bool

    @property
    def terms(self) -> Order:
        return (DURATION.asc(), "-id") if self.is_shortest_first else (DURATION.desc(), "id")

    @property
    def reverse(self) -> ByDuration:
        return ByDuration(not self.is_shortest_first)

    def cursor(self, job: Job) -> str:
        assert job.started_at  # noqa: S101 (only ended jobs are listed)
        assert job.finished_at  # noqa: S101
        return f"d{microseconds(job.started_at)}.{ListCursor(job.finished_at, job.pk)}"

    def after(self, rows: QuerySet[Row], cursor: str) -> QuerySet[Row]:
        if not (found := re.fullmatch(r"d([0-9]{16})\.(.+)", cursor)):
            raise ValueError(INVALID_CURSOR)
        end, start = ListCursor.parse(found[2]), ListCursor.parse(f"{found[1]}-start")
        took = Difference(
            Value(end.created_at), Value(start.created_at), output_field=models.DurationField()
        )
        later, of_ids = (
            (GreaterThan, LessThan) if self.is_shortest_first else (LessThan, GreaterThan)
        )
        return rows.filter(
            Q(later(DURATION, took)) | Q(Exact(DURATION, took)) & Q(of_ids(F("pk"), end.pk))
        )


@dataclass(frozen=True, slots=True)
class ByName:
    """Jobs with the same name: the newest first. A cursor has the name in base64."""

    is_from_z: bool = False

    @property
    def terms(self) -> Order:
        return (NAME.desc() if self.is_from_z else NAME.asc(), *self._same_name.terms)

    @property
    def reverse(self) -> ByName:
        return ByName(not self.is_from_z)

    @property
    def _same_name(self) -> ByCreation:
        return ByCreation(is_oldest_first=self.is_from_z)

    def cursor(self, job: Job) -> str:
        name = urlsafe_b64encode((job.document_name or job.document_id).encode())
        return f"n{name.decode().rstrip('=')}.{ListCursor.after(job)}"

    def after(self, rows: QuerySet[Row], cursor: str) -> QuerySet[Row]:
        if not (found := re.fullmatch(r"n([A-Za-z0-9_-]*)\.(.+)", cursor)):
            raise ValueError(INVALID_CURSOR)
        name, place = Lower(Value(_decoded(found[1]))), ListCursor.parse(found[2])
        beyond = LessThan(NAME, name) if self.is_from_z else GreaterThan(NAME, name)
        at = (GreaterThan, LessThan) if self.is_from_z else (LessThan, GreaterThan)
        created, value = F("created_at"), place.created_at
        same_name = Q(at[0](created, value)) | Q(created_at=value) & Q(at[1](F("pk"), place.pk))
        return rows.filter(Q(beyond) | Q(Exact(NAME, name)) & same_name)


def _decoded(text: str) -> str:
    """Raises ValueError for what no name of a document is."""
    try:
        name = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        raise ValueError(INVALID_CURSOR) from None
    if "\0" in name or len(name) > MAX_NAME_LENGTH:
        raise ValueError(INVALID_CURSOR)
    return name


class JobOrder(models.TextChoices):
    NEWEST = "newest", _("Newest first")
    OLDEST = "oldest", _("Oldest first")
    LONGEST = "longest", _("Longest first")
    SHORTEST = "shortest", _("Shortest first")
    NAME = "name", _("Name, A to Z")

    @property
    def is_by_duration(self) -> bool:
        """These orders have ended jobs only."""
        return self in {JobOrder.LONGEST, JobOrder.SHORTEST}

    @property
    def is_of_newest(self) -> bool:
        """Are only the newest jobs listed?"""
        return self.is_by_duration or self is JobOrder.NAME

    @property
    def ordering(self) -> Ordering:
        if self.is_by_duration:
            return ByDuration(is_shortest_first=self is JobOrder.SHORTEST)
        return ByName() if self is JobOrder.NAME else ByCreation(self is JobOrder.OLDEST)

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
