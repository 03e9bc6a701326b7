"""Reads variables from the environment and from `.env`, and converts their text.

django-environ's casts accept typing mistakes: `HTTPS=ture` is false, `1e3` is 13.0, and the second
name of `a, b` begins with a space. The casts here raise a ValueError with what a value must be.
"""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import environ
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from ingestion_progress.conf import PREFIX, AppSettings, Setting
from ingestion_progress.pipeline.conf import PipelineSettings

BASE_DIR = Path(__file__).resolve().parent.parent

# Eight writers lost 28 of 320 writes to "database is locked" without these. A checkpoint, which the
# COMMIT of a writer waits for, is due after 4,000 pages (16 MB), not 1,000: seven documents.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; "
    "PRAGMA wal_autocheckpoint=4000;",
    "timeout": 20,
}
# A database that stops, freezes or goes silent must not hold a process for as long as the kernel
# would. The connection:
POSTGRESQL_OPTIONS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# The session. A migration may take longer than any other statement.
SESSION_OPTIONS = {
    "statement_timeout": "0" if "migrate" in sys.argv else "30s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "2min",
}
# Settings of the app that the project sets in code.
DECIDED_IN_CODE = frozenset({"CAN_VIEW", "DATABASE", "TASK", "VISIBLE_JOBS"})
# `.env` may also set variables that boto3, Django, Python and the terminal read.
READ_BY_OTHERS = ("AWS_", "DJANGO_", "PYTHON", "NO_COLOR", "FORCE_COLOR")


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
    return [word.strip() for word in text.split(",") if word.strip()]


def _pair(text: str) -> tuple[str, str]:
    name, value = text.split("=", 1)
    return name.strip(), value.strip()


pairs = cast(
    lambda text: dict(map(_pair, words(text))), "NAME=VALUE pairs with commas between them"
)


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
    own = config.get("OPTIONS", {})
    config["OPTIONS"] = SQLITE_OPTIONS | own if engine == "sqlite3" else _postgresql_options(own)
    return config


def _postgresql_options(own: dict[str, Any]) -> dict[str, Any]:
    """The options; those of the URL take precedence: `?connect_timeout=2&lock_timeout=1s`."""
    session = {name: own.get(name, value) for name, value in SESSION_OPTIONS.items()}
    options = " ".join(f"-c {name}={value}" for name, value in session.items())
    connection = {name: value for name, value in own.items() if name not in session}
    return POSTGRESQL_OPTIONS | {"options": options} | connection


CASTS: dict[Any, Callable[[str], Any]] = {
    bool: boolean,
    int: integer,
    float: number,
    list[str]: words,
    dict[str, str]: pairs,
    Path: path,
}


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
        """The app's settings for which a variable is set."""
        values = {
            PREFIX + name: self(name, CASTS.get(kind, str), default=None)
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


def app_variables() -> dict[str, type]:
    """The variables of the app's two `conf`, each with the type of its value."""
    return {
        setting.name: setting.kind
        for conf in (AppSettings, PipelineSettings)
        for setting in vars(conf).values()
        if isinstance(setting, Setting) and setting.name not in DECIDED_IN_CODE
    }
