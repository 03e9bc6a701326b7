"""Variables of the environment and of `.env`, read with django-environ."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import environ
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

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


class Variables(FileAwareMapping):  # type: ignore[misc]  # django-environ has no types
    """The environment without its empty variables. `NAME_FILE` names a file with the value."""

    def __getitem__(self, name: str) -> str:
        try:
            value = str(super().__getitem__(name)).strip()
        except OSError:
            raise InvalidVariable(f"{name}_FILE", "the name of a file that can be read") from None
        if not value:
            raise KeyError(name)
        return value


class Environment(environ.FileAwareEnv):  # type: ignore[misc]
    """`env(name, cast, default=…)`. A value in the environment takes precedence over `.env`."""

    ENVIRON = Variables()

    def __init__(self) -> None:
        super().__init__()
        self.smart_cast = False
        self.names_read: set[str] = set()
        self.file: Path = self("ENV_FILE", path, default=BASE_DIR / ".env")
        # The names are needed, too: `read_env` returns nothing, but fills the mapping of its class.
        in_file: Any = type("EnvFile", (environ.Env,), {"ENVIRON": {}})
        in_file.read_env(self.file)
        self.names_in_file = list(in_file.ENVIRON)
        for name, value in in_file.ENVIRON.items():
            self.ENVIRON.setdefault(name, value)

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        self.names_read.add(var)
        try:
            return super().get_value(var, *args, **kwargs)
        except ValueError as expected:
            raise InvalidVariable(var, expected) from None

    def app_settings(self) -> dict[str, Any]:
        """The app's settings for which a variable is set; each property's type chooses the cast."""
        casts = {"bool": boolean, "int": integer, "float": number, "list[str]": words, "Path": path}
        return {
            PREFIX + name: value
            for name, kind in app_variables().items()
            if (value := self(name, casts.get(kind, str), default=None)) is not None
        }

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
    members = {**vars(AppSettings), **vars(PipelineSettings)}
    variables = {
        name.removeprefix("is_").upper(): str(member.fget.__annotations__["return"])
        for name, member in members.items()
        if isinstance(member, property) and member.fget
    }
    return {name: kind for name, kind in variables.items() if name not in DECIDED_IN_CODE}
