"""Applies the project's rule VISIBLE_JOBS to streams, when they open and at each later check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from django.http import HttpRequest

from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import InvalidJobId
from ingestion_progress.feed import Selection, Subscription, VisibleJobs, get_feed
from ingestion_progress.feed.selection import OVERLAP
from ingestion_progress.feed.visible_jobs import query_key
from ingestion_progress.models import Job, clean_job_id
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.streams.parameters import condition_of

Visible: TypeAlias = VisibleJobs | frozenset[str] | None
"""What a stream of active jobs shows, or the named jobs that are hidden; None without a rule."""


def restrict(request: HttpRequest, selection: Selection) -> None:
    """Limits a new stream to what the rule and the query string show. Queries the database if
    there is a rule or a filter.
    """
    if selection.job_ids is None:
        selection.condition = condition_of(request)
    jobs = permissions.visible_jobs(request)
    if jobs is None and selection.condition is not None:
        jobs = Job.objects.all()
    visible = visible_in(selection, jobs)
    if isinstance(visible, VisibleJobs):
        selection.visible = visible
    elif visible is not None:
        selection.hidden = visible


def visible_in(selection: Selection, jobs: JobQuerySet | None) -> Visible:
    """What a stream shows of these jobs."""
    if jobs is None:
        return None
    if selection.job_ids is not None:
        names = set(filter(_is_valid, selection.job_ids))
        return frozenset(names.difference(jobs.filter(pk__in=names).values_list("pk", flat=True)))
    now, jobs = database_now(), _matching(jobs, selection)
    since = selection.ended_since(now) or now - OVERLAP
    return VisibleJobs.read(jobs, min(since, now - OVERLAP))


def read_again(
    watching: Sequence[tuple[HttpRequest, Subscription]],
) -> list[tuple[Subscription, Visible]]:
    """What these streams may show now; equal queries are asked once. Raises database errors."""
    found = permissions.visible_jobs_again(request for request, _ in watching)
    answers: dict[str, VisibleJobs] = {}
    changes: list[tuple[Subscription, Visible]] = []
    for (_, subscription), jobs in zip(watching, found, strict=True):
        selection = subscription.selection
        if jobs is None or selection.job_ids is not None:
            changes.append((subscription, visible_in(selection, jobs)))
            continue
        shown = _matching(jobs, selection)
        key = query_key(shown)
        if key not in answers:
            answers[key] = VisibleJobs.read(shown, database_now() - OVERLAP)
        changes.append((subscription, answers[key]))
    return changes


def apply(changes: Sequence[tuple[Subscription, Visible]]) -> None:
    """Tells the feed. To be called in the event loop."""
    for subscription, visible in changes:
        if visible is not None:
            get_feed().restrict(subscription, visible)


def _matching(jobs: JobQuerySet, selection: Selection) -> JobQuerySet:
    return jobs if selection.condition is None else jobs.filter(selection.condition)


def _is_valid(job_id: str) -> bool:
    try:
        return bool(clean_job_id(job_id))
    except InvalidJobId:
        return False
