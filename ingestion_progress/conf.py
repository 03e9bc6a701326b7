"""The settings of the app: typed, read on use, each with a working default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, cast, overload

from django.conf import settings
from django.core.signals import setting_changed

T = TypeVar("T")

PREFIX = "INGESTION_PROGRESS_"
UNSET = object()
TEXTS: frozenset[Any] = frozenset({str, Path})
WAKEUPS = ("auto", "channels", "notify", "off")

_found: dict[str, Any] = {}
"""Values by name. Django does not cache that a setting is missing, and its look-up is slow."""


class Setting(Generic[T]):
    """`keepalive_seconds = Setting(float, 15.0)` reads `INGESTION_PROGRESS_KEEPALIVE_SECONDS`.

    An empty text or path counts as not set.
    """

    def __init__(self, kind: type[T], default: T | Callable[[], T]) -> None:
        self.kind = kind
        self._default = default
        self.name = ""

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.name = attribute.removeprefix("is_").upper()

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object, owner: type) -> Self | T:
        if instance is None:
            return self
        try:
            value = _found[self.name]
        except KeyError:
            value = _found[self.name] = getattr(settings, PREFIX + self.name, UNSET)
        if value is UNSET or (not value and self.kind in TEXTS):
            value = self._default() if callable(self._default) else self._default
        return cast("Callable[[Any], T]", self.kind)(value)


def forget(**kwargs: Any) -> None:
    """Empties the cache when a test changes a setting."""
    _found.clear()


setting_changed.connect(forget)


def _debug() -> bool:
    return bool(settings.DEBUG)


class AppSettings:
    # Access

    is_public = Setting(bool, _debug)
    """May anyone who reaches the server view, start, cancel, retry and delete jobs? Default: DEBUG.
    """
    can_view = Setting(str, "")
    """Dotted path of a `(request, job_id) -> bool` that replaces the view permission."""
    visible_jobs = Setting(str, "")
    """Dotted path of a `(request) -> QuerySet[Job]`: a viewer finds no other jobs."""
    token_algorithm = Setting(str, "HS256")
    """The only accepted signature algorithm of tokens."""
    token_key = Setting(str, "")
    """Shared key for HS256, HS384 and HS512; empty: derived from SECRET_KEY."""
    token_public_key = Setting(str, "")
    """PEM key that verifies tokens of any other algorithm."""
    token_private_key = Setting(str, "")
    """PEM key that signs such tokens; only needed where tokens are issued."""
    token_audience = Setting(str, "ingestion-progress")
    """The required `aud` claim of a token."""
    token_minutes = Setting(float, 10.0)
    """Default lifetime of a token."""
    token_max_minutes = Setting(float, 60.0)
    """Maximum lifetime of a token, also of those that other services issue."""
    cors_origins = Setting(list[str], [])
    """Origins that may read a stream that is not public; a public stream allows all."""
    metrics_token = Setting(str, "")
    """Bearer token for `/metrics`; empty: a login is needed unless the site is public."""

    # Quotas, counted per hour in the database; 0 for no limit

    uploads_per_hour_per_user = Setting(int, 1000)
    uploads_per_hour_per_address = Setting(int, 0)
    """Counts users too. All users behind one proxy or in one office may share an address."""
    tokens_per_hour_per_user = Setting(int, 1000)
    """Counts stream tokens that a user gets, and revocations."""
    tokens_per_hour_per_address = Setting(int, 0)
    failed_logins_per_hour_per_user = Setting(int, 20)
    """Per user name in the form, even if no such user exists."""
    failed_logins_per_hour_per_address = Setting(int, 100)

    # The database

    database = Setting(str, "default")
    """Alias of the database that holds the progress tables, for `ProgressRouter`."""

    # The tracker

    flush_interval_seconds = Setting(float, 0.25)
    """Minimum time between two writes of a job's counts."""
    heartbeat_seconds = Setting(float, 5.0)
    """Interval of the heartbeats of a running job without changes."""
    write_timeout_seconds = Setting(float, 30.0)
    """How long a start, finish or flush waits for the database before it raises."""
    max_events_per_job = Setting(int, 1000)
    """Further events of a job are counted, not stored."""

    # Forecasts

    former_jobs = Setting(int, 20)
    """A forecast uses the times of at most this many earlier jobs with the same stages; 0: none."""

    # Attempts

    max_attempts = Setting(int, 3)
    """A job that was lost or failed this many times in a row gets no attempt automatically."""
    is_rescuing = Setting(bool, default=True)
    """Do web processes rescue jobs? `ingestion_worker` always does."""

    # Retention

    keep_jobs_days = Setting(float, 0.0)
    """Jobs that ended more than this many days ago are deleted; 0 keeps all."""

    # Liveness

    starved_after_seconds = Setting(float, 60.0)
    """A job that is queued for longer is starved."""
    stalled_after_seconds = Setting(float, 120.0)
    """A running job with a heartbeat but no change for longer is stalled."""
    lost_after_seconds = Setting(float, 20.0)
    """A running job without a heartbeat for longer is lost."""

    # The stream

    poll_interval_seconds = Setting(float, 0.25)
    """Interval of the feed's polls, each for all watched jobs."""
    throttle_seconds = Setting(float, 0.5)
    """Minimum time between two states of a job on a stream; a final state never waits."""
    wakeups = Setting(str, "auto")
    """How writers notify feeds of changes before the next poll; one of WAKEUPS."""
    keepalive_seconds = Setting(float, 15.0)
    """A stream that is silent for this long gets a `keepalive`: a comment and an event."""
    is_compressed = Setting(bool, default=True)
    """Are streams compressed for clients that accept gzip?"""
    max_stream_seconds = Setting(float, 900.0)
    """Maximum age of a stream, ± 10 %; its client reconnects."""
    max_jobs_per_stream = Setting(int, 200)
    """Maximum of jobs that one stream or `follow` may name; a stream of all has no limit."""
    recheck_seconds = Setting(float, 20.0)
    """Interval at which the permission of open streams is checked again."""
    max_streams = Setting(int, 20_000)
    """Maximum of open streams per process; 0 for no limit."""
    max_streams_per_user = Setting(int, 500)
    """Maximum of open streams per user and process; 0 for no limit."""
    max_streams_per_address = Setting(int, 0)
    """Maximum of open streams per address and process; 0 for no limit."""


conf = AppSettings()
