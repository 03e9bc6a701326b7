"""The project's rule for the jobs that a viewer finds, and a ready-made one.

A job that the rule leaves out does not exist for the viewer: lists and streams leave it out, and
its addresses answer 404. The rule gives no access that a permission or CAN_VIEW does not give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.module_loading import import_string

from ingestion_progress.conf import conf
from ingestion_progress.models import Job
from ingestion_progress.models.jobs import JobQuerySet


def own_jobs(request: HttpRequest) -> JobQuerySet:
    """For VISIBLE_JOBS: users find the jobs that they own, and superusers find all."""
    user: Any = getattr(request, "user", None)
    return Job.objects.all() if getattr(user, "is_superuser", False) else Job.objects.owned_by(user)


def jobs_by_rule(request: HttpRequest) -> JobQuerySet:
    """What VISIBLE_JOBS returns, in no order. Raises ImproperlyConfigured unless it is jobs."""
    rule = cast("Callable[[HttpRequest], object]", import_string(conf.visible_jobs))
    found = rule(request)
    if not isinstance(found, QuerySet) or found.model is not Job:
        raise ImproperlyConfigured(f"{conf.visible_jobs} must return a QuerySet of jobs.")
    query = found.query
    is_plain = not (query.is_sliced or query.combinator or query.distinct)
    if is_plain and isinstance(found, JobQuerySet):
        return found.order_by()
    return Job.objects.filter(pk__in=found.values("pk"))
