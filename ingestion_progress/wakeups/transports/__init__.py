"""How hints cross processes, and which way is used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Protocol

from django.conf import settings
from django.db import router
from django.utils.module_loading import import_string

from ingestion_progress.conf import WAKEUPS, conf
from ingestion_progress.models import Job
from ingestion_progress.wakeups.message import Hint

CARRIERS = {
    "channels": "ingestion_progress.wakeups.transports.channels.LayerCarrier",
    "notify": "ingestion_progress.wakeups.transports.postgres.NotifyCarrier",
}
IN_MEMORY = "channels.layers.InMemoryChannelLayer"


class Carrier(Protocol):
    """Used from one event loop. Whatever fails is raised, and the carrier is given up."""

    async def send(self, hint: Hint) -> None:
        """To all processes that receive."""

    async def receive(self, deliver: Callable[[Hint], None], ready: Callable[[], None]) -> None:
        """Delivers until it is cancelled or fails; `ready` is called once hints can come."""

    async def close(self) -> None:
        """Lets go of connections."""


def carrier_name() -> str:
    """`channels` or `notify`, or empty where hints stay in their process."""
    choices = ("channels", "notify") if conf.wakeups == "auto" else (conf.wakeups,)
    return next((name for name in choices if name in CARRIERS and not problem_with(name)), "")


def new_carrier(name: str) -> Carrier:
    carrier: Carrier = import_string(CARRIERS[name])()
    return carrier


def problem_with(choice: str) -> str:
    """Why this way cannot be used here, as a sentence; empty if it can."""
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
