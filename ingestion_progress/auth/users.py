"""Reads the users of many open streams again, a few hundred per query."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError

VIEW_JOB = "ingestion_progress.view_job"
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
# Below the parameter limit of every database.
BATCH_SIZE = 500


def read(user_ids: Iterable[str]) -> dict[str, Any]:
    """The current users by id, with two queries for each 500.

    `is_job_viewer` is True for users to whom ModelBackend gives the permission to view jobs; every
    other user has to be checked individually. Raises Django's database errors.
    """
    users: dict[str, Any] = {}
    keys = iter(_keys(user_ids))
    while batch := list(islice(keys, BATCH_SIZE)):
        found: dict[Any, Any] = get_user_model().objects.in_bulk(batch)
        permitted = _permitted(list(found))
        for key, user in found.items():
            user.is_job_viewer = key in permitted
            users[str(key)] = user
    return users


def may_view_jobs(user: Any) -> bool:
    """Has this user the permission? False for None and for inactive users."""
    if user is None:
        return False
    return getattr(user, "is_job_viewer", False) or bool(user.has_perm(VIEW_JOB))


def key_of(text: str) -> Any:
    """A valid primary key of the user model, or None."""
    try:
        # Also refuses numbers that are too long for the column.
        return get_user_model()._meta.pk.clean(text, None)
    except ValidationError:
        return None


def _keys(user_ids: Iterable[str]) -> Iterator[Any]:
    """The valid primary keys: tokens of another service may name ids of another kind."""
    return filter(None, map(key_of, user_ids))


def _permitted(keys: list[Any]) -> set[Any]:
    """The users with the permission, as far as a query can tell: ModelBackend must come first."""
    model = get_user_model()
    manager: Any = model.objects
    is_queryable = (
        settings.AUTHENTICATION_BACKENDS[0] == MODEL_BACKEND
        and hasattr(manager, "with_perm")
        and getattr(model, "has_perm", None) is PermissionsMixin.has_perm
    )
    if not is_queryable:
        return set()
    viewers = manager.with_perm(VIEW_JOB, backend=MODEL_BACKEND)
    return set(viewers.filter(pk__in=keys).values_list("pk", flat=True))
