"""How many uploads, stream tokens and failed logins a user or an address may have per hour.

All processes share the counts, which are rows in the database: one per user or address and hour.
"""

import math
import unicodedata
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from django.db import connections, router, transaction
from django.db.models import F, QuerySet
from django.http import HttpRequest

from ingestion_progress.auth import permissions
from ingestion_progress.auth.addresses import address_of
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import QuotaExceeded
from ingestion_progress.models import QuotaCount
from ingestion_progress.models.clock import database_now

WINDOW_SECONDS = 3600
# A new row deletes up to this many old rows.
PRUNED_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    noun: str
    per_user: Callable[[], int]
    """The limit of a user per hour; 0 for none."""
    per_address: Callable[[], int]


UPLOADS = Quota(
    noun="uploads",
    per_user=lambda: conf.uploads_per_hour_per_user,
    per_address=lambda: conf.uploads_per_hour_per_address,
)
TOKENS = Quota(
    noun="stream tokens",
    per_user=lambda: conf.tokens_per_hour_per_user,
    per_address=lambda: conf.tokens_per_hour_per_address,
)
FAILED_LOGINS = Quota(
    noun="failed logins",
    per_user=lambda: conf.failed_logins_per_hour_per_user,
    per_address=lambda: conf.failed_logins_per_hour_per_address,
)


def count(request: HttpRequest, quota: Quota, user: str | None = None) -> None:
    """Counts one for the user and the address of the request.

    `user`: a name that somebody claims; by default the user who is logged in. Raises
    QuotaExceeded, which counts nothing, and Django's database errors.
    """
    now = _now()
    taken: list[str] = []
    for who, limit in _limits(request, quota, user):
        key = _key(quota, who, now)
        if not _take(key, limit, now):
            _take_back(taken)
            raise _exceeded(quota, limit, now)
        taken.append(key)


def check(request: HttpRequest, quota: Quota) -> None:
    """Raises QuotaExceeded if a limit is reached; counts nothing. `count` may still refuse."""
    now = _now()
    limits = {_key(quota, who, now): limit for who, limit in _limits(request, quota, None)}
    for used in _counts().filter(pk__in=limits):
        if used.count >= limits[used.pk]:
            raise _exceeded(quota, limits[used.pk], now)


def give_back(request: HttpRequest, quota: Quota, user: str | None = None) -> None:
    """Subtracts one from the counts, because the login did not fail."""
    _take_back([_key(quota, who, _now()) for who, _ in _limits(request, quota, user)])


def _limits(request: HttpRequest, quota: Quota, user: str | None) -> Iterator[tuple[str, int]]:
    """The user and the address, each with its limit, if it has one."""
    name = permissions.user_id_of(request) if user is None else _normalized(user)
    if name and (limit := quota.per_user()):
        yield f"user {name}", limit
    if limit := quota.per_address():
        yield f"address {address_of(request)}", limit


def _now() -> float:
    return database_now().timestamp()


def _normalized(username: str) -> str:
    """The same text for all spellings that a login may accept as one user name."""
    return unicodedata.normalize("NFKC", username).strip().casefold()


def _key(quota: Quota, who: str, now: float) -> str:
    """A hash, because what is typed as a user name may be a password."""
    return sha256(f"{quota.noun} {_window_end(now)} {who}".encode(errors="replace")).hexdigest()


def _window_end(now: float) -> int:
    return (int(now) // WINDOW_SECONDS + 1) * WINDOW_SECONDS


def _take(key: str, limit: int, now: float) -> bool:
    """Adds one in a single statement, so that no two requests take the last one."""
    below = _counts().filter(pk=key, count__lt=limit)
    if below.update(count=F("count") + 1):
        return True
    # Without the limit, another request that has just counted the first one would be refused.
    if _counts().filter(pk=key, count__gte=limit).exists():
        return False
    _prune()
    expires_at = datetime.fromtimestamp(_window_end(now), UTC)
    _counts().bulk_create([QuotaCount(key=key, expires_at=expires_at)], ignore_conflicts=True)
    return bool(below.update(count=F("count") + 1))


def _take_back(keys: Collection[str]) -> None:
    _counts().filter(pk__in=keys, count__gt=0).update(count=F("count") - 1)


def _prune() -> None:
    """Deletes counts of earlier hours, except those that another process is deleting."""
    old = _counts().filter(expires_at__lt=database_now())
    if not old.exists():
        return
    skips = connections[old.db].features.has_select_for_update_skip_locked
    with transaction.atomic(using=old.db):
        keys = old.select_for_update(skip_locked=skips).values_list("pk", flat=True)
        _counts().filter(pk__in=list(keys[:PRUNED_AT_ONCE])).delete()


def _counts() -> QuerySet[QuotaCount]:
    return QuotaCount.objects.using(router.db_for_write(QuotaCount))


def _exceeded(quota: Quota, limit: int, now: float) -> QuotaExceeded:
    return QuotaExceeded(quota.noun, limit, math.ceil(_window_end(now) - now))
