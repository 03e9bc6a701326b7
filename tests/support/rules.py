"""CAN_VIEW rules of a project, which tests name in settings."""

from __future__ import annotations

import threading

from django.contrib.auth.backends import BaseBackend
from django.core.exceptions import PermissionDenied
from django.db import OperationalError

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
