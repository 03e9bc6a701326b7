"""What the address of the list of jobs selects."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import Any, Self

from django.contrib.auth import get_user_model
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import pgettext, pgettext_lazy

from ingestion_progress.auth import permissions
from ingestion_progress.models import clean_batch
from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.models.job_groups import JobGroup
from ingestion_progress.models.job_orders import JobOrder
from ingestion_progress.models.job_search import found_jobs
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.statuses import JobResult, JobStatus

# What no job of an empty list is or does, by status, group or result.
FILTER_TEXTS = {
    JobStatus.QUEUED.value: pgettext_lazy("no job", "is queued"),
    JobStatus.RUNNING.value: pgettext_lazy("no job", "is running"),
    JobStatus.SUCCEEDED.value: pgettext_lazy("no job", "is succeeded"),
    JobStatus.FAILED.value: pgettext_lazy("no job", "is failed"),
    JobStatus.CANCELLED.value: pgettext_lazy("no job", "is cancelled"),
    JobStatus.LOST.value: pgettext_lazy("no job", "is lost"),
    JobResult.PARTIAL.value: pgettext_lazy("no job", "succeeded with errors"),
    JobGroup.ATTENTION.value: pgettext_lazy("no job", "needs attention"),
    JobGroup.WAITING.value: pgettext_lazy("no job", "is waiting"),
    JobGroup.DONE.value: pgettext_lazy("no job", "is done"),
}
# How much of an invalid filter is shown, in characters.
MAX_SHOWN = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilters:
    """Empty: no such filter."""

    batch: str = ""
    status: str = ""
    result: str = ""
    group: str = ""
    owner: str = ""
    """A user name, or `me`."""
    q: str = ""
    since: str = ""
    """The first day on which the jobs were created, as in 2026-11-27."""
    until: str = ""
    """The last day."""
    sort: str = ""
    """A JobOrder; empty for the usual one of the list."""

    @classmethod
    def read(cls, query: QueryDict) -> Self:
        """Invalid filters are left out, except for a batch: raises InvalidBatch."""
        batch, status, result = (query.get(name, "") for name in ("batch", "status", "result"))
        if status == JobResult.PARTIAL:  # as the form sends it
            status, result = "", status
        has_status, has_result = status in JobStatus.values, result in JobResult.values
        group, sort = query.get("group", ""), query.get("sort", "")
        is_group = group in JobGroup.values and not (has_status or has_result)
        group = group if is_group else ""
        is_order = sort in JobOrder.values and sort != _usual_order(group)
        return cls(
            batch=clean_batch(batch) if batch else "",
            status=status if has_status else "",
            result=result if has_result and not has_status else "",
            group=group,
            owner=_text(query, "owner"),
            q=_text(query, "q"),
            since=_day(query, "since"),
            until=_day(query, "until"),
            sort=sort if is_order else "",
        )

    @property
    def query(self) -> QueryDict:
        """The query of an address, which the links of the page repeat."""
        query = QueryDict(mutable=True)
        for field in fields(self):
            if value := getattr(self, field.name):
                query[field.name] = value
        return query

    def ignored(self, query: QueryDict) -> list[str]:
        """What the address asks for and the list does not do, as in the address."""
        used = {field.name: bool(getattr(self, field.name)) for field in fields(self)}
        used["status"] |= self.result == query.get("status")
        used["result"] = self.result == query.get("result")
        used["sort"] |= query.get("sort") == _usual_order(self.group)
        return [
            f"{name}={value}"[:MAX_SHOWN]
            for name, is_used in used.items()
            for value in query.getlist(name)
            if value.strip() and not (is_used and value == query.get(name))
        ]

    @property
    def is_of_all(self) -> bool:
        """Are jobs of all groups listed?"""
        return not (self.status or self.result or self.group)

    @property
    def is_search(self) -> bool:
        return bool(self.q or self.since or self.until)

    @property
    def has_groups(self) -> bool:
        return self.is_of_all and not (self.is_search or self.sort)

    @property
    def order(self) -> JobOrder:
        return JobOrder(self.sort) if self.sort else _usual_order(self.group)

    @property
    def label(self) -> str:
        """What the jobs of the list are or did, after "No job"; empty without such a filter."""
        if self.is_search:
            return pgettext("no job", "matches the search")
        if self.order.is_by_duration and self.is_of_all:
            return pgettext("no job", "has ended")
        return str(FILTER_TEXTS.get(self.result or self.status or self.group, ""))

    def within(self, request: HttpRequest) -> JobQuerySet:
        """The jobs of which the list shows some: those of all groups and statuses."""
        jobs = permissions.jobs_for(request, by_token=False)
        if self.owner == permissions.OWN:
            jobs = jobs.owned_by(permissions.user_of(request))
        elif self.owner:
            jobs = jobs.owned_by(_user_named(self.owner))
        if self.batch:
            jobs = jobs.of_batch(self.batch)
        if self.since:
            jobs = jobs.filter(created_at__gte=_start_of(self.since))
        if self.until:
            jobs = jobs.filter(created_at__lt=_start_of(self.until) + timedelta(days=1))
        return found_jobs(jobs, self.q)

    def parts(self, jobs: JobQuerySet, now: datetime) -> list[JobQuerySet]:
        """The jobs that have the group, status or result, and a place in the order."""
        jobs = self.order.of(jobs)
        if self.group:
            return JobGroup(self.group).parts(jobs, now)
        if self.status:
            return [jobs.filter(status=self.status)]
        return [jobs.with_result(self.result) if self.result else jobs]


def _usual_order(group: str) -> JobOrder:
    return JobOrder.OLDEST if group == JobGroup.WAITING else JobOrder.NEWEST


def _text(query: QueryDict, name: str) -> str:
    """Without what a database may not accept."""
    return query.get(name, "").replace("\0", "").strip()[:MAX_NAME_LENGTH]


def _day(query: QueryDict, name: str) -> str:
    """Empty if it is no day."""
    try:
        day = parse_date(query.get(name, ""))
    except ValueError:  # well formatted, but not in the calendar
        return ""
    return day.isoformat() if day else ""


def _start_of(day: str) -> datetime:
    # The first and the last year have no day before or after them, and no job is that old or new.
    near = min(max(date.fromisoformat(day), date(2, 1, 1)), date(9998, 12, 31))
    return timezone.make_aware(datetime.combine(near, time.min))


def _user_named(name: str) -> Any:
    """The primary key; None without such a user."""
    users = get_user_model()
    found = users._default_manager.filter(**{users.USERNAME_FIELD: name})
    return found.values_list("pk", flat=True).first()
