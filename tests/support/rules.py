"""Rules of a project about who may see which job, named by settings."""

from __future__ import annotations

import threading

from django.contrib.auth.backends import BaseBackend
from django.core.exceptions import PermissionDenied
from django.db import OperationalError

released = threading.Event()
NOT_A_FUNCTION = "rule"


def own_jobs_only(request, job_id):
    """Jobs are named for their owners."""
    return job_id.startswith(f"{request.user.get_username()}-")


def asked_in_person(request, job_id):
    return request.headers.get("X-Job") == job_id


def when_released(request, job_id):
    """Waits for a database, as it were, that has accepted the question."""
    return released.wait(20)


def without_database(request, job_id):
    """Asks a database that is down."""
    raise OperationalError


async def later(request, job_id):
    return True


class NobodyMay(BaseBackend):
    """An authentication backend whose refusal no other one is asked about."""

    def has_perm(self, user, permission, obj=None):
        raise PermissionDenied
