"""The batches that exist for a request: those with a visible job, and the user's own."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest

from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import BatchNotFound, InvalidBatch
from ingestion_progress.models import Batch, Job, clean_batch
from ingestion_progress.models.pagination import RowCount


def batches_for(request: HttpRequest, *, by_token: bool = True) -> QuerySet[Batch]:
    """Newest first. The request may view the list of jobs.

    With VISIBLE_JOBS: the user's own batches, and those of the newest visible jobs, up to
    the limit of `RowCount`.
    """
    batches = Batch.objects.order_by("-created_at", "id")
    visible = permissions.visible_jobs(request, by_token=by_token)
    if visible is None:
        return batches
    of_batches = visible.exclude(batch="").order_by("-created_at")
    # One subquery for all batches. As EXISTS, SQLite would run it for each of them.
    job_batches = of_batches.values("batch")[: RowCount.limit]
    found = Batch.objects.filter(pk__in=job_batches).order_by()
    owner_id = permissions.chosen_user_id(request, permissions.OWN, by_token=by_token)
    if owner_id is None:
        return batches.filter(pk__in=found.values("pk"))
    own = Batch.objects.filter(owner_id=owner_id).order_by()
    # With an OR the batches of all users would be read.
    return batches.filter(pk__in=found.values("pk").union(own.values("pk"), all=True))


def batch_for(request: HttpRequest, batch_id: str, *, by_token: bool = True) -> Batch:
    """The batch. Raises BatchNotFound, also for an invalid id."""
    try:
        batch = Batch.find(clean_batch(batch_id))
    except InvalidBatch:
        batch = None
    if batch is None or _is_hidden(request, batch, by_token=by_token):
        raise BatchNotFound(batch_id)
    return batch


def is_whole(request: HttpRequest, batch: Batch, *, by_token: bool = True) -> bool:
    """Are all jobs of the batch visible? Otherwise the user may not change or delete it."""
    visible = permissions.visible_jobs(request, by_token=by_token)
    if visible is None:
        return True
    hidden = Job.objects.of_batch(batch.pk).exclude(pk__in=visible.values("pk"))
    return not hidden.exists()


def may_join(request: HttpRequest, batch_id: str) -> bool:
    """May the user who is logged in add a job to this batch? `batch_id` must be valid.

    Yes if there is no such batch, or if it exists for the user. Visitors who are not logged in
    cannot be distinguished: they may also join a batch if nobody owns it or one of its jobs.
    """
    if permissions.visible_jobs(request, by_token=False) is None:
        return True
    batch = Batch.find(batch_id)
    if batch is None or not _is_hidden(request, batch, by_token=False):
        return True
    if permissions.is_logged_in(request) or batch.owner_id is not None:
        return False
    return not Job.objects.of_batch(batch.pk).filter(owner__isnull=False).exists()


def _is_hidden(request: HttpRequest, batch: Batch, *, by_token: bool) -> bool:
    visible = permissions.visible_jobs(request, by_token=by_token)
    if visible is None:
        return False
    owner_id = permissions.chosen_user_id(request, permissions.OWN, by_token=by_token)
    is_own = owner_id is not None and batch.owner_id == owner_id
    return not (is_own or visible.of_batch(batch.pk).exists())
