"""Reads variables from the environment and from `.env`."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import environ
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from ingestion_progress.conf import PREFIX, AppSettings
from ingestion_progress.pipeline.conf import PipelineSettings
from progress_project.casts import BASE_DIR, boolean, integer, number, path, words

# Settings of the app that the project sets in code.
DECIDED_IN_CODE = frozenset({"CAN_VIEW", "DATABASE", "TASK"})
# `.env` may also set variables that Django, Python and the terminal read.
READ_BY_OTHERS = ("DJANGO_", "PYTHON", "NO_COLOR", "FORCE_COLOR")


class InvalidVariable(ImproperlyConfigured):
    """A variable whose value cannot be used."""

    def __init__(self, name: str, expected: object) -> None:
        super().__init__(f"{name} (from the environment or .env) must be {expected}.")


class Environment:
    """`env(name, cast, default=…)`. An empty variable counts as not set.

    The values in `.env` are added to the environment, which takes precedence. `NAME_FILE` names a
    file with the value of `NAME`. A `$` has no special meaning, unlike in `environ.Env`.
    """

    def __init__(self) -> None:
        self.names_read: set[str] = set()
        self.file: Path = self("ENV_FILE", path, default=BASE_DIR / ".env")
        # `read_env` returns nothing, but fills the mapping of its class.
        in_file: Any = type("EnvFile", (environ.Env,), {"ENVIRON": {}})
        in_file.read_env(self.file)
        self.names_in_file = list(in_file.ENVIRON)
        for name, value in in_file.ENVIRON.items():
            if not os.environ.get(name, "").strip():
                os.environ[name] = value

    def __call__(self, name: str, cast: Callable[[str], Any], *, default: Any) -> Any:
        self.names_read.add(name)
        value = os.environ.get(name, "")
        if file := os.environ.get(f"{name}_FILE"):
            try:
                value = Path(file).read_text(encoding="utf-8")
            except OSError:
                expected = "the name of a file that can be read"
                raise InvalidVariable(f"{name}_FILE", expected) from None
        try:
            return cast(value.strip()) if value.strip() else default
        except ValueError as expected:
            raise InvalidVariable(name, expected) from None

    def app_settings(self) -> dict[str, Any]:
        """The app's settings for which a variable is set; each property's type chooses the cast."""
        casts = {"bool": boolean, "int": integer, "float": number, "list[str]": words, "Path": path}
        values = {
            PREFIX + name: self(name, casts.get(kind, str), default=None)
            for name, kind in app_variables().items()
        }
        return {name: value for name, value in values.items() if value is not None}

    def check_names(self) -> list[checks.CheckMessage]:
        """A warning for each name in `.env` that no setting reads; complete once all are read."""
        shown = self.file.relative_to(BASE_DIR) if BASE_DIR in self.file.parents else self.file
        return [
            checks.Warning(
                f"{shown}: {name} is unknown.", hint=self._hint(name), id="progress_project.W001"
            )
            for name in self.names_in_file
            if not {name, name.removesuffix("_FILE")} & self.names_read
            and not name.startswith(READ_BY_OTHERS)
        ]

    def _hint(self, name: str) -> str:
        wanted = name.upper().removeprefix(PREFIX)
        similar = get_close_matches(wanted, self.names_read, n=1, cutoff=0.7)
        return f"Did you mean {similar[0]}?" if similar else ".env.example lists all names."


def app_variables() -> dict[str, str]:
    """The variables of the app's two `conf`, each with the type of its property."""
    return {
        name.removeprefix("is_").upper(): str(member.fget.__annotations__["return"])
        for conf in (AppSettings, PipelineSettings)
        for name, member in vars(conf).items()
        if isinstance(member, property) and name.upper() not in DECIDED_IN_CODE
    }
