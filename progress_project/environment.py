"""Typed values from the environment and `.env`, each with a sentence for what is wrong with it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured

from ingestion_progress.conf import PREFIX, AppSettings
from ingestion_progress.pipeline.conf import PipelineSettings

Value = TypeVar("Value")

WORDS_FOR_TRUE = frozenset({"1", "on", "true", "yes"})
WORDS_FOR_FALSE = frozenset({"0", "false", "no", "off"})
DATABASE_ENGINES = frozenset({"django.db.backends.sqlite3", "django.db.backends.postgresql"})

# Properties of the app's `conf` that the project decides in code.
DECIDED_IN_CODE = frozenset({"CAN_VIEW", "DATABASE", "TASK"})

# Eight writers lost 28 of 320 writes to "database is locked" without these.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    "timeout": 20,
}


class InvalidVariable(ImproperlyConfigured):
    """A variable whose value cannot be used; the message is all that a user needs."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(f"{name} (from the environment or .env) must be {expected}.")


class Environment:
    """Reads variables by name; an empty one counts as absent. `NAME_FILE` names a file to read.

    What `.env` in the `base` folder says is put into the environment where that says nothing; the
    file may be absent.
    `asked` remembers every name, so that a test can compare it with `.env.example`.
    """

    def __init__(self, base: Path) -> None:
        self._base = base
        self._values = environ.FileAwareEnv()
        self.asked: set[str] = set()
        self._read_file(self.path("ENV_FILE", ".env"))

    def text(self, name: str, default: str = "") -> str:
        self.asked.add(name)
        try:
            value = str(self._values.str(name, default=""))
        except OSError:
            raise InvalidVariable(f"{name}_FILE", "the name of a file that can be read") from None
        return value.strip() or default

    def path(self, name: str, default: str) -> Path:
        """An absolute path; a relative one begins at the project's folder, wherever we run."""
        return self._base / Path(self.text(name, default)).expanduser()

    def boolean(self, name: str, *, default: bool) -> bool:
        word = self.text(name, str(default)).lower()
        if word not in WORDS_FOR_TRUE | WORDS_FOR_FALSE:
            raise InvalidVariable(name, f"true or false, not {word!r}")
        return word in WORDS_FOR_TRUE

    def integer(self, name: str, default: int) -> int:
        return self._number(name, int, default, "a whole number")

    def number(self, name: str, default: float) -> float:
        return self._number(name, float, default, "a number")

    def words(self, name: str, default: Sequence[str] = ()) -> list[str]:
        """A comma-separated list."""
        return [word.strip() for word in self.text(name).split(",") if word.strip()] or [*default]

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        value = self.text(name, default)
        for choice in choices:
            if choice.lower() == value.lower():
                return choice
        raise InvalidVariable(name, f"one of {', '.join(choices)}, not {value!r}")

    def database(self, name: str) -> dict[str, Any] | None:
        """A Django database from a URL, None without one; SQLite is set up for many writers."""
        url = self.text(name)
        if not url:
            return None
        try:
            # What is odd about a URL is a warning there; the value may hold a password.
            with warnings.catch_warnings(action="error"):
                database: dict[str, Any] = environ.Env.db_url_config(url)
        except (ValueError, UserWarning):
            database = {}
        if database.get("ENGINE") not in DATABASE_ENGINES:
            raise InvalidVariable(name, "a URL that begins with sqlite:/// or postgres://")
        if database["ENGINE"] == "django.db.backends.sqlite3":
            database["OPTIONS"] = SQLITE_OPTIONS | database.get("OPTIONS", {})
        return database

    def app_settings(self) -> dict[str, Any]:
        """Django settings for each property of the app's `conf` whose variable is set.

        The setting is the variable's name after `INGESTION_PROGRESS_`; the property's type says
        how it is read, and the property's default stays the only one.
        """
        readers: dict[str, Callable[[str], Any]] = {
            "bool": lambda name: self.boolean(name, default=False),
            "int": lambda name: self.integer(name, 0),
            "float": lambda name: self.number(name, 0.0),
            "list[str]": self.words,
            "str": self.text,
            "str | None": self.text,
            "Path": lambda name: self.path(name, ""),
        }
        found = {}
        for name, kind in app_variables().items():
            if self.text(name):
                found[PREFIX + name] = readers[kind](name)
        return found

    @staticmethod
    def _read_file(path: Path) -> None:
        # By itself, django-environ lets an empty variable hide what the file says.
        empty = {name: value for name, value in os.environ.items() if not value.strip()}
        for name in empty:
            del os.environ[name]
        environ.Env.read_env(path)
        for name, value in empty.items():
            os.environ.setdefault(name, value)

    def _number(
        self, name: str, kind: Callable[[str], Value], default: Value, expected: str
    ) -> Value:
        value = self.text(name)
        try:
            return kind(value) if value else default
        except ValueError:
            raise InvalidVariable(name, f"{expected}, not {value!r}") from None


def sqlite_file(path: Path) -> dict[str, Any]:
    """A Django database in a file, set up for several writing processes."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": dict(SQLITE_OPTIONS)}


def app_variables() -> dict[str, str]:
    """Names of the app's variables with the type of each, as its two `conf` annotate them."""
    variables = {}
    for settings in (AppSettings, PipelineSettings):
        for name, member in vars(settings).items():
            if isinstance(member, property) and member.fget:
                # `is_public` is a question; what answers it is PUBLIC.
                variable = name.removeprefix("is_").upper()
                variables[variable] = str(member.fget.__annotations__["return"])
    return {name: kind for name, kind in variables.items() if name not in DECIDED_IN_CODE}
