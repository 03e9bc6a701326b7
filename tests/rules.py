"""Rules of a project about who may see which job, named by settings."""

from __future__ import annotations

NOT_A_FUNCTION = "rule"


def own_jobs_only(request, job_id):
    """Jobs are named for their owners."""
    return job_id.startswith(f"{request.user.get_username()}-")


def asked_in_person(request, job_id):
    return request.headers.get("X-Job") == job_id


async def later(request, job_id):
    return True
