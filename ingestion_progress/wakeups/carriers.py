"""How hints cross processes, and which way is used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Protocol

from django.conf import settings
from django.db import router

from ingestion_progress.conf import WAKEUPS, conf
from ingestion_progress.models import Job
from ingestion_progress.wakeups.hints import Hint


class Carrier(Protocol):
    """Used from one event loop. Whatever fails is raised, and the carrier is given up."""

    async def send(self, hint: Hint) -> None:
        """To all processes that receive."""

    async def receive(self, deliver: Callable[[Hint], None], ready: Callable[[], None]) -> None:
        """Delivers until it is cancelled or fails; `ready` is called once hints can come."""

    async def close(self) -> None:
        """Lets go of connections."""


def carrier_name() -> str:
    """`notify`, or empty where hints stay in their process."""
    if conf.wakeups == "notify" or (conf.wakeups == "auto" and is_postgresql()):
        return "notify" if not problem_with("notify") else ""
    return ""


def new_carrier(name: str) -> Carrier:
    from ingestion_progress.wakeups.notify import NotifyCarrier

    return {"notify": NotifyCarrier}[name]()


def problem_with(choice: str) -> str:
    """Why this way cannot be used here, as a sentence; empty if it can."""
    if choice not in WAKEUPS:
        return f"{choice!r} is none of {', '.join(WAKEUPS)}."
    if choice == "notify" and not is_postgresql():
        return "NOTIFY needs the progress tables to be in PostgreSQL."
    if choice == "notify" and not is_installed("psycopg"):
        return "NOTIFY needs psycopg 3, the extra `postgres`."
    return ""


@cache
def is_installed(package: str) -> bool:
    return find_spec(package) is not None


def is_postgresql() -> bool:
    database = settings.DATABASES.get(router.db_for_write(Job), {})
    return "postgresql" in database.get("ENGINE", "")
