"""CAN_VIEW rules of a project, which tests name in settings."""

from __future__ import annotations

import threading

from django.contrib.auth.backends import BaseBackend
from django.core.exceptions import PermissionDenied
from django.db import OperationalError

from ingestion_progress.models import Batch, Job

released = threading.Event()
NOT_A_FUNCTION = "rule"


def own_jobs_only(request, job_id):
    """Permits users the jobs whose id begins with their name."""
    return job_id.startswith(f"{request.user.get_username()}-")


def asked_in_person(request, job_id):
    return request.headers.get("X-Job") == job_id


def when_released(request, job_id):
    """Hangs, as with a database that accepts a query and never answers."""
    return released.wait(20)


def without_database(request, job_id):
    """Queries a database that is down."""
    raise OperationalError


async def later(request, job_id):
    return True


class NobodyMay(BaseBackend):
    """An authentication backend that refuses, so that later backends are not asked."""

    def has_perm(self, user, permission, obj=None):
        raise PermissionDenied


def jobs_of_the_team(request):
    """VISIBLE_JOBS: the jobs whose metadata names the user's group."""
    return Job.objects.filter(metadata__team__in=[g.name for g in request.user.groups.all()])


def newest_two(request):
    return Job.objects.order_by("-created_at")[:2]


def united(request):
    jobs = Job.objects.order_by()
    return jobs.filter(pk="job-0").union(jobs.exclude(pk="job-0"))


def without_duplicates(request):
    return Job.objects.distinct()


def batches(request):
    return Batch.objects.all()


def names_of_jobs(request):
    return Job.objects.values_list("document_name", flat=True)


def no_query(request):
    return []


def broken(request):
    raise RuntimeError("a mistake in the rule")
