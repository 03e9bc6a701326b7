"""Casts of variables: from text to a value, or a ValueError that says what the variable must be.

django-environ's own casts accept what people mistype: `HTTPS=ture` is false, `1e3` is 13.0, and
the second name of `a, b` begins with a space.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import environ

BASE_DIR = Path(__file__).resolve().parent.parent

# Eight writers lost 28 of 320 writes to "database is locked" without these.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    "timeout": 20,
}


def cast(convert: Callable[[str], Any], expected: str) -> Callable[[str], Any]:
    """`convert`, with a ValueError that says what the variable must be."""

    def checked(text: str) -> Any:
        try:
            return convert(text)
        except (ValueError, LookupError, OSError):
            raise ValueError(f"{expected}, not {text!r}") from None

    return checked


def one_of(choices: Sequence[str]) -> Callable[[str], Any]:
    by_name = {choice.lower(): choice for choice in choices}
    return cast(lambda text: by_name[text.lower()], f"one of {', '.join(choices)}")


BOOLEANS = dict.fromkeys(("1", "on", "true", "yes"), True) | dict.fromkeys(
    ("0", "off", "false", "no"), False
)
boolean = cast(lambda text: BOOLEANS[text.lower()], "true or false")
integer = cast(int, "a whole number")
number = cast(float, "a number")
time_zone = cast(lambda text: ZoneInfo(text).key, "a name like Europe/Berlin")


def words(text: str) -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text.split(",") if word.strip()]


def path(text: str) -> Path:
    """A relative path starts at the project's folder, not at the current one."""
    return BASE_DIR / Path(text).expanduser()


def database(url: str) -> dict[str, Any]:
    """A value of DATABASES. The error does not show the URL, which may hold a password."""
    try:
        with warnings.catch_warnings(action="error"):  # one for a SQLite URL with a host
            config: dict[str, Any] = environ.Env.db_url_config(url)
    except (ValueError, UserWarning):
        config = {}
    engine = config.get("ENGINE", "").removeprefix("django.db.backends.")
    if engine not in ("sqlite3", "postgresql"):
        raise ValueError("a URL that begins with sqlite:/// or postgres://")
    if engine == "sqlite3":
        config["OPTIONS"] = SQLITE_OPTIONS | config.get("OPTIONS", {})
    return config


def sqlite_file(file: Path) -> dict[str, Any]:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": file, "OPTIONS": dict(SQLITE_OPTIONS)}
