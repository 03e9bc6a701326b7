"""Transports send notifications between processes; `transport_name` chooses one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Protocol

from django.conf import settings
from django.db import router
from django.utils.module_loading import import_string

from ingestion_progress.concurrency.backoff import Backoff
from ingestion_progress.conf import WAKEUPS, conf
from ingestion_progress.models import Job
from ingestion_progress.wakeups.message import Notification

logger = logging.getLogger("ingestion_progress.wakeups")

TRANSPORTS = {
    "channels": "ingestion_progress.wakeups.transports.channels.ChannelsTransport",
    "notify": "ingestion_progress.wakeups.transports.postgres.PostgresTransport",
}
IN_MEMORY = "channels.layers.InMemoryChannelLayer"
# The pause after the first failure; it doubles up to the second value.
FIRST_PAUSE_SECONDS = 0.5
LAST_PAUSE_SECONDS = 15.0


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


def transport_name() -> str:
    """`channels` or `notify`; empty if notifications stay in their process."""
    choices = ("channels", "notify") if conf.wakeups == "auto" else (conf.wakeups,)
    return next((name for name in choices if name in TRANSPORTS and not problem_with(name)), "")


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
