"""The users behind many open streams, read again a few hundred at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError

VIEW_JOB = "ingestion_progress.view_job"
DJANGOS_BACKEND = "django.contrib.auth.backends.ModelBackend"
# Less than any database takes as parameters of a query.
AT_ONCE = 500


def read(user_ids: Iterable[str]) -> dict[str, Any]:
    """The users as they are now, by id: two queries for each 500, however many there are.

    One to whom Django's own backend gives the permission to view jobs says so in
    `is_job_viewer`; the others have to be asked one by one. Raises Django's database errors.
    """
    users: dict[str, Any] = {}
    keys = iter(_keys(user_ids))
    while some := list(islice(keys, AT_ONCE)):
        found: dict[Any, Any] = get_user_model().objects.in_bulk(some)
        permitted = _permitted(list(found))
        for key, user in found.items():
            user.is_job_viewer = key in permitted
            users[str(key)] = user
    return users


def may_view_jobs(user: Any) -> bool:
    """Has this user the permission? Not one who is inactive, nor nobody."""
    if user is None:
        return False
    return getattr(user, "is_job_viewer", False) or bool(user.has_perm(VIEW_JOB))


def _keys(user_ids: Iterable[str]) -> Iterator[Any]:
    """Without those that can be nobody's: tokens of another service have ids of its own."""
    key = get_user_model()._meta.pk
    for user_id in user_ids:
        try:
            yield key.clean(user_id, None)  # no number too long for a column either
        except (ValidationError, ValueError, TypeError):
            continue


def _permitted(keys: list[Any]) -> set[Any]:
    """Those of whom a query can say so: no backend is asked before Django's own."""
    model = get_user_model()
    manager: Any = model.objects
    is_djangos = (
        settings.AUTHENTICATION_BACKENDS[0] == DJANGOS_BACKEND
        and hasattr(manager, "with_perm")
        and getattr(model, "has_perm", None) is PermissionsMixin.has_perm
    )
    if not is_djangos:
        return set()
    viewers = manager.with_perm(VIEW_JOB, backend=DJANGOS_BACKEND)
    return set(viewers.filter(pk__in=keys).values_list("pk", flat=True))
