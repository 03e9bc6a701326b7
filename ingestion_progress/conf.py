"""The app's settings: typed, each looked up when it is used, each with a default that works."""

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
        except KeyError:  # Django would find out each time anew that a setting has no value
            value = self._known[name] = getattr(settings, PREFIX + name, UNSET)
        return default if value is UNSET else value

    def _forget(self, **kwargs: Any) -> None:
        """Django's way of changing settings in tests."""
        self._known.clear()

    # Who may see and do what

    @property
    def is_public(self) -> bool:
        """May anyone who reaches the server see, start and cancel jobs? Default: DEBUG."""
        return bool(self._get("PUBLIC", settings.DEBUG))

    @property
    def can_view(self) -> str:
        """Dotted path of `(request, job_id) -> bool`, which then decides; empty: permissions do."""
        return str(self._get("CAN_VIEW", "") or "")

    @property
    def token_algorithm(self) -> str:
        """The only algorithm that a token's signature may have."""
        return str(self._get("TOKEN_ALGORITHM", "HS256"))

    @property
    def token_key(self) -> str:
        """The shared key of HS256, HS384 and HS512; empty: one derived from SECRET_KEY."""
        return str(self._get("TOKEN_KEY", ""))

    @property
    def token_public_key(self) -> str:
        """PEM; checks the tokens of every other algorithm."""
        return str(self._get("TOKEN_PUBLIC_KEY", ""))

    @property
    def token_private_key(self) -> str:
        """PEM; signs them. Only where tokens are minted."""
        return str(self._get("TOKEN_PRIVATE_KEY", ""))

    @property
    def token_audience(self) -> str:
        """What a token must name in `aud`."""
        return str(self._get("TOKEN_AUDIENCE", "ingestion-progress"))

    @property
    def token_minutes(self) -> float:
        """How long a token lives unless it is asked for otherwise."""
        return float(self._get("TOKEN_MINUTES", 10.0))

    @property
    def token_max_minutes(self) -> float:
        """How long a token may live at most, whoever minted it."""
        return float(self._get("TOKEN_MAX_MINUTES", 60.0))

    @property
    def cors_origins(self) -> list[str]:
        """Origins that may read a stream which is not public; a public one says `*`."""
        return list(self._get("CORS_ORIGINS", []))

    @property
    def metrics_token(self) -> str:
        """Opens `/metrics` as a bearer token; empty: only a login or a public site does."""
        return str(self._get("METRICS_TOKEN", ""))

    # The database

    @property
    def database(self) -> str:
        """Alias of the database that holds the progress tables, for `ProgressRouter`."""
        return str(self._get("DATABASE", "default"))

    # The tracker

    @property
    def flush_interval_seconds(self) -> float:
        """Counts are written at most this often per job."""
        return float(self._get("FLUSH_INTERVAL_SECONDS", 0.25))

    @property
    def heartbeat_seconds(self) -> float:
        """A running job without changes says this often that it is alive."""
        return float(self._get("HEARTBEAT_SECONDS", 5.0))

    @property
    def write_timeout_seconds(self) -> float:
        """How long a start, a finish or a flush waits for the database before it raises."""
        return float(self._get("WRITE_TIMEOUT_SECONDS", 30.0))

    @property
    def max_events_per_job(self) -> int:
        """Events beyond this many are counted, not stored."""
        return int(self._get("MAX_EVENTS_PER_JOB", 1000))

    # Liveness

    @property
    def starved_after_seconds(self) -> float:
        """A queued job that waits longer is starved."""
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
        """The feed asks the database this often, for all watched jobs at once."""
        return float(self._get("POLL_INTERVAL_SECONDS", 0.25))

    @property
    def throttle_seconds(self) -> float:
        """A client gets at most one state per job in this time; a final state never waits."""
        return float(self._get("THROTTLE_SECONDS", 0.5))

    @property
    def wakeups(self) -> str:
        """How writers tell feeds to look before their next tick; one of WAKEUPS."""
        return str(self._get("WAKEUPS", "auto"))

    @property
    def keepalive_seconds(self) -> float:
        """A stream silent for this long gets a comment line."""
        return float(self._get("KEEPALIVE_SECONDS", 15.0))

    @property
    def is_compressed(self) -> bool:
        """Do streams reach clients that take gzip as gzip?"""
        return bool(self._get("COMPRESSED", default=True))

    @property
    def max_stream_seconds(self) -> float:
        """A stream that is older ends, and its client comes back; each varies by a tenth."""
        return float(self._get("MAX_STREAM_SECONDS", 900.0))

    @property
    def max_jobs_per_stream(self) -> int:
        """So many jobs may be named for one stream or to `follow`; all jobs have no limit."""
        return int(self._get("MAX_JOBS_PER_STREAM", 200))

    @property
    def recheck_seconds(self) -> float:
        """Whoever watches is asked about again this often: may they still?"""
        return float(self._get("RECHECK_SECONDS", 20.0))

    @property
    def max_streams(self) -> int:
        """Open streams of a process; 0 for any number."""
        return int(self._get("MAX_STREAMS", 20_000))

    @property
    def max_streams_per_user(self) -> int:
        """Open streams of one user in a process; 0 for any number."""
        return int(self._get("MAX_STREAMS_PER_USER", 500))

    @property
    def max_streams_per_address(self) -> int:
        """Open streams of one address in a process; 0 for any number."""
        return int(self._get("MAX_STREAMS_PER_ADDRESS", 0))


conf = AppSettings()
