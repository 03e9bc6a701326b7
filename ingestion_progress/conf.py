"""The settings of the app: typed, read on use, each with a working default."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

PREFIX = "INGESTION_PROGRESS_"
UNSET = object()
WAKEUPS = ("auto", "channels", "notify", "off")


class AppSettings:
    """`conf.keepalive_seconds` reads `settings.INGESTION_PROGRESS_KEEPALIVE_SECONDS`."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}
        setting_changed.connect(self._forget)

    def _get(self, name: str, default: Any) -> Any:
        try:
            value = self._known[name]
        except KeyError:  # Django does not cache that a setting is missing
            value = self._known[name] = getattr(settings, PREFIX + name, UNSET)
        return default if value is UNSET else value

    def _forget(self, **kwargs: Any) -> None:
        """Tests change settings while the app runs."""
        self._known.clear()

    # Access

    @property
    def is_public(self) -> bool:
        """May anyone who reaches the server view, start and cancel jobs? Default: DEBUG."""
        return bool(self._get("PUBLIC", settings.DEBUG))

    @property
    def can_view(self) -> str:
        """Dotted path of a `(request, job_id) -> bool` that replaces the view permission."""
        return str(self._get("CAN_VIEW", "") or "")

    @property
    def token_algorithm(self) -> str:
        """The only accepted signature algorithm of tokens."""
        return str(self._get("TOKEN_ALGORITHM", "HS256"))

    @property
    def token_key(self) -> str:
        """Shared key for HS256, HS384 and HS512; empty: derived from SECRET_KEY."""
        return str(self._get("TOKEN_KEY", ""))

    @property
    def token_public_key(self) -> str:
        """PEM key that verifies tokens of any other algorithm."""
        return str(self._get("TOKEN_PUBLIC_KEY", ""))

    @property
    def token_private_key(self) -> str:
        """PEM key that signs such tokens; only needed where tokens are issued."""
        return str(self._get("TOKEN_PRIVATE_KEY", ""))

    @property
    def token_audience(self) -> str:
        """The required `aud` claim of a token."""
        return str(self._get("TOKEN_AUDIENCE", "ingestion-progress"))

    @property
    def token_minutes(self) -> float:
        """Default lifetime of a token."""
        return float(self._get("TOKEN_MINUTES", 10.0))

    @property
    def token_max_minutes(self) -> float:
        """Maximum lifetime of a token, also of those that other services issue."""
        return float(self._get("TOKEN_MAX_MINUTES", 60.0))

    @property
    def cors_origins(self) -> list[str]:
        """Origins that may read a stream that is not public; a public stream allows all."""
        return list(self._get("CORS_ORIGINS", []))

    @property
    def metrics_token(self) -> str:
        """Bearer token for `/metrics`; empty: a login is needed unless the site is public."""
        return str(self._get("METRICS_TOKEN", ""))

    # The database

    @property
    def database(self) -> str:
        """Alias of the database that holds the progress tables, for `ProgressRouter`."""
        return str(self._get("DATABASE", "default"))

    # The tracker

    @property
    def flush_interval_seconds(self) -> float:
        """Minimum time between two writes of a job's counts."""
        return float(self._get("FLUSH_INTERVAL_SECONDS", 0.25))

    @property
    def heartbeat_seconds(self) -> float:
        """Interval of the heartbeats of a running job without changes."""
        return float(self._get("HEARTBEAT_SECONDS", 5.0))

    @property
    def write_timeout_seconds(self) -> float:
        """How long a start, finish or flush waits for the database before it raises."""
        return float(self._get("WRITE_TIMEOUT_SECONDS", 30.0))

    @property
    def max_events_per_job(self) -> int:
        """Further events of a job are counted, not stored."""
        return int(self._get("MAX_EVENTS_PER_JOB", 1000))

    # Liveness

    @property
    def starved_after_seconds(self) -> float:
        """A job that is queued for longer is starved."""
        return float(self._get("STARVED_AFTER_SECONDS", 60.0))

    @property
    def stalled_after_seconds(self) -> float:
        """A running job with a heartbeat but no change for longer is stalled."""
        return float(self._get("STALLED_AFTER_SECONDS", 120.0))

    @property
    def lost_after_seconds(self) -> float:
        """A running job without a heartbeat for longer is lost."""
        return float(self._get("LOST_AFTER_SECONDS", 60.0))

    # The stream

    @property
    def poll_interval_seconds(self) -> float:
        """Interval of the feed's polls, each for all watched jobs."""
        return float(self._get("POLL_INTERVAL_SECONDS", 0.25))

    @property
    def throttle_seconds(self) -> float:
        """Minimum time between two states of a job on a stream; a final state never waits."""
        return float(self._get("THROTTLE_SECONDS", 0.5))

    @property
    def wakeups(self) -> str:
        """How writers notify feeds of changes before the next poll; one of WAKEUPS."""
        return str(self._get("WAKEUPS", "auto"))

    @property
    def keepalive_seconds(self) -> float:
        """A stream that is silent for this long gets a comment line."""
        return float(self._get("KEEPALIVE_SECONDS", 15.0))

    @property
    def is_compressed(self) -> bool:
        """Are streams compressed for clients that accept gzip?"""
        return bool(self._get("COMPRESSED", default=True))

    @property
    def max_stream_seconds(self) -> float:
        """Maximum age of a stream, ± 10 %; its client reconnects."""
        return float(self._get("MAX_STREAM_SECONDS", 900.0))

    @property
    def max_jobs_per_stream(self) -> int:
        """Maximum of jobs named for one stream or to `follow`; a stream of all has no limit."""
        return int(self._get("MAX_JOBS_PER_STREAM", 200))

    @property
    def recheck_seconds(self) -> float:
        """Interval at which the permission of open streams is checked again."""
        return float(self._get("RECHECK_SECONDS", 20.0))

    @property
    def max_streams(self) -> int:
        """Maximum of open streams per process; 0 for no limit."""
        return int(self._get("MAX_STREAMS", 20_000))

    @property
    def max_streams_per_user(self) -> int:
        """Maximum of open streams per user and process; 0 for no limit."""
        return int(self._get("MAX_STREAMS_PER_USER", 500))

    @property
    def max_streams_per_address(self) -> int:
        """Maximum of open streams per address and process; 0 for no limit."""
        return int(self._get("MAX_STREAMS_PER_ADDRESS", 0))


conf = AppSettings()
