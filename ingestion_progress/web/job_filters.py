"""What the address of the list of jobs selects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from django.http import HttpRequest, QueryDict

from ingestion_progress.auth import permissions
from ingestion_progress.models import clean_batch
from ingestion_progress.models.job_groups import JobGroup
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.statuses import JobResult, JobStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilters:
    """Empty: no such filter."""

    batch: str = ""
    status: str = ""
    result: str = ""
    group: str = ""
    owner: str = ""

    @classmethod
    def read(cls, query: QueryDict) -> Self:
        """Invalid filters are left out, except for a batch: raises InvalidBatch."""
        batch, status, result = (query.get(name, "") for name in ("batch", "status", "result"))
        has_status, has_result = status in JobStatus.values, result in JobResult.values
        group = query.get("group", "")
        is_group = group in JobGroup.values and not (has_status or has_result)
        return cls(
            batch=clean_batch(batch) if batch else "",
            status=status if has_status else "",
            result=result if has_result and not has_status else "",
            group=group if is_group else "",
            owner=permissions.OWN if query.get("owner") == permissions.OWN else "",
        )

    @property
    def query(self) -> QueryDict:
        """As in an address, which the links of the page repeat."""
        query = QueryDict(mutable=True)
        for name in self.__slots__:
            if value := getattr(self, name):
                query[name] = value
        return query

    @property
    def has_groups(self) -> bool:
        """Are jobs of all groups listed?"""
        return not (self.status or self.result or self.group)

    @property
    def label(self) -> str:
        """What the jobs of the list are or did, after "No job"; empty without such a filter."""
        if self.result:
            return str(JobResult(self.result).label).lower()
        if self.group == JobGroup.ATTENTION:
            return "needs attention"
        return f"is {self.status or self.group}" if self.status or self.group else ""

    def within(self, request: HttpRequest) -> JobQuerySet:
        """The jobs of which the list shows some: those of all groups and statuses."""
        jobs = permissions.jobs_for(request, by_token=False)
        if self.owner:
            jobs = jobs.owned_by(permissions.user_of(request))
        return jobs.of_batch(self.batch) if self.batch else jobs

    def of_status(self, jobs: JobQuerySet) -> JobQuerySet:
        """Those with the status or result."""
        if self.status:
            jobs = jobs.filter(status=self.status)
        return jobs.with_result(self.result) if self.result else jobs
