"""Notifications between processes, and the transports that send them."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

from django.conf import settings
from django.core.signals import setting_changed
from django.db import router
from django.utils.module_loading import import_string

from ingestion_progress.concurrency.backoff import Backoff
from ingestion_progress.conf import WAKEUPS, conf
from ingestion_progress.models import Job

logger = logging.getLogger("ingestion_progress.wakeups")

TRANSPORTS = {
    "channels": "ingestion_progress.wakeups.transports.channels.ChannelsTransport",
    "notify": "ingestion_progress.wakeups.transports.postgres.PostgresTransport",
}
IN_MEMORY = "channels.layers.InMemoryChannelLayer"
# The pause after the first failure; it doubles up to the second value.
FIRST_PAUSE_SECONDS = 0.5
LAST_PAUSE_SECONDS = 15.0
# PostgreSQL refuses 8000 bytes and more.
MAX_BYTES = 7000

_MEMORY = uuid.uuid4().hex[:12]


def own_origin() -> str:
    """The `origin` of this process's notifications: unique, and different in a forked child."""
    return f"{_MEMORY}-{os.getpid()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """A process has written these jobs."""

    origin: str
    job_ids: tuple[str, ...] = ()
    """Empty: some jobs, too many to name."""
    ended: tuple[str, ...] = ()
    """The jobs that have ended. Their last state is not throttled."""

    @classmethod
    def about(cls, job_ids: Collection[str], ended: Collection[str] = ()) -> Notification:
        """A notification of this process, short enough for every transport."""
        full = cls(origin=own_origin(), job_ids=tuple(job_ids), ended=tuple(ended))
        return full if len(full.encoded().encode()) <= MAX_BYTES else cls(origin=full.origin)

    def encoded(self) -> str:
        fields = [self.origin, *self.job_ids, self.ended]
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def decoded(cls, text: str) -> Notification | None:
        """None for other text: the channel may be shared with other programs."""
        try:
            origin, *job_ids, ended = json.loads(text)
            names = (origin, *job_ids, *ended)
        except (TypeError, ValueError):
            return None
        if not isinstance(ended, list) or not all(isinstance(name, str) for name in names):
            return None
        return cls(origin=origin, job_ids=tuple(job_ids), ended=tuple(ended))


class Transport(Protocol):
    """Used from one event loop. After any exception it is closed and replaced."""

    async def send(self, notification: Notification) -> None:
        """Sends to all processes that receive."""

    async def receive(
        self, deliver: Callable[[Notification], None], ready: Callable[[], None]
    ) -> None:
        """Delivers until it fails or is cancelled; calls `ready` when the connection works."""

    async def close(self) -> None:
        """Closes its connections."""


@cache
def transport_name() -> str:
    """`channels` or `notify`; empty if notifications stay in their process."""
    choices = ("channels", "notify") if conf.wakeups == "auto" else (conf.wakeups,)
    return next((name for name in choices if name in TRANSPORTS and not problem_with(name)), "")


def forget_choice(**kwargs: Any) -> None:
    """Chooses again after a test has changed a setting."""
    transport_name.cache_clear()


setting_changed.connect(forget_choice)


def new_transport(name: str) -> Transport:
    transport: Transport = import_string(TRANSPORTS[name])()
    return transport


def new_backoff() -> Backoff:
    return Backoff(
        logger,
        down="wakeups_down",
        back="wakeups_back",
        first_seconds=FIRST_PAUSE_SECONDS,
        last_seconds=LAST_PAUSE_SECONDS,
    )


def problem_with(choice: str) -> str:
    """Why this setting cannot be used here, as a sentence; empty if it can."""
    if choice not in WAKEUPS:
        return f"{choice!r} is none of {', '.join(WAKEUPS)}."
    if choice == "channels":
        return problem_with_layer()
    if choice == "notify" and not is_postgresql():
        return "NOTIFY needs the progress tables to be in PostgreSQL."
    if choice == "notify" and not is_installed("psycopg"):
        return "NOTIFY needs psycopg 3, the extra `postgres`."
    return ""


def problem_with_layer() -> str:
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default", {}).get("BACKEND", "")
    if not layer:
        return "CHANNEL_LAYERS has no default layer."
    if layer == IN_MEMORY:
        return "The in-memory channel layer never crosses processes."
    packages = ("channels", layer.partition(".")[0])
    missing = [package for package in packages if not is_installed(package)]
    return f"{' and '.join(missing)} must be installed, the extra `redis`." if missing else ""


@cache
def is_installed(package: str) -> bool:
    return find_spec(package) is not None


def is_postgresql() -> bool:
    database = settings.DATABASES.get(router.db_for_write(Job), {})
    return "postgresql" in database.get("ENGINE", "")
