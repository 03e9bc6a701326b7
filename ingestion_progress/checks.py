"""System checks: a wrong setting is a message with an id and a hint, not an exception."""

from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.db import router
from django.utils.module_loading import import_string

from ingestion_progress.conf import PREFIX, WAKEUPS, conf
from ingestion_progress.monitoring import prometheus

CONNECTION_TIMEOUTS = ("connect_timeout", "tcp_user_timeout")
SESSION_TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
REMOVE_HINT = "Remove the setting to use the default."


@register(Tags.database)
def check_sqlite_options(**kwargs: Any) -> Iterator[CheckMessage]:
    from ingestion_progress.models import Job

    database = settings.DATABASES.get(router.db_for_write(Job), {})
    mode = str(database.get("OPTIONS", {}).get("transaction_mode", ""))
    if "sqlite3" in database.get("ENGINE", "") and mode.upper() != "IMMEDIATE":
        yield Warning(
            "Concurrent writers of a SQLite file in the default transaction mode fail with "
            "'database is locked'.",
            hint="Set OPTIONS['transaction_mode'] = 'IMMEDIATE' and "
            "OPTIONS['init_command'] = 'PRAGMA journal_mode=WAL;' for the progress database.",
            id="ingestion_progress.W001",
        )


@register(Tags.database)
def check_postgresql_options(**kwargs: Any) -> Iterator[CheckMessage]:
    from ingestion_progress.models import Job

    database = settings.DATABASES.get(router.db_for_write(Job), {})
    if "postgresql" not in database.get("ENGINE", ""):
        return
    options = database.get("OPTIONS", {})
    session = str(options.get("options", ""))
    missing = [name for name in CONNECTION_TIMEOUTS if name not in options]
    missing += [name for name in SESSION_TIMEOUTS if name not in session]
    if missing:
        yield Warning(
            f"The progress database has no {', '.join(missing)}: a process may wait for hours for "
            "a PostgreSQL that does not answer.",
            hint="Set them in OPTIONS, those of the session in OPTIONS['options'], as "
            "'-c lock_timeout=5s'; docs/settings.md has values. Silence this check if the role or "
            "the server sets them.",
            id="ingestion_progress.W003",
        )


@register()
def check_database_alias(**kwargs: Any) -> Iterator[CheckMessage]:
    if conf.database not in settings.DATABASES:
        yield Error(
            f"INGESTION_PROGRESS_DATABASE is {conf.database!r}, which DATABASES does not define.",
            hint=f"Use one of: {', '.join(settings.DATABASES)}.",
            id="ingestion_progress.E001",
        )


@register()
def check_intervals(**kwargs: Any) -> Iterator[CheckMessage]:
    return not_positive(conf)


def not_positive(conf: object) -> Iterator[CheckMessage]:
    """An error for each setting in seconds, minutes, bytes or items that is not above 0."""
    units = ("_seconds", "_minutes", "_bytes", "_per_job")
    for name in dir(type(conf)):
        if name.endswith(units) and not _is_number(conf, name, lambda value: value > 0):
            yield Error(
                f"{PREFIX}{name.upper()} must be a number above 0.",
                hint=REMOVE_HINT,
                id="ingestion_progress.E002",
            )


@register()
def check_stream_limits(**kwargs: Any) -> Iterator[CheckMessage]:
    limits = (name for name in dir(type(conf)) if name.endswith(("_per_user", "_per_address")))
    for name in ("max_streams", *limits):
        if not _is_number(conf, name, lambda value: value >= 0):
            yield Error(
                f"{PREFIX}{name.upper()} must be a whole number of at least 0; 0 means no limit.",
                hint=REMOVE_HINT,
                id="ingestion_progress.E006",
            )


def _is_number(conf: object, name: str, is_in_range: Callable[[float], bool]) -> bool:
    try:
        return is_in_range(getattr(conf, name))
    except (TypeError, ValueError):
        return False


@register()
def check_metrics(**kwargs: Any) -> Iterator[CheckMessage]:
    if conf.metrics_token and not prometheus.is_available():
        yield Warning(
            "INGESTION_PROGRESS_METRICS_TOKEN is set, but /metrics answers 404 without "
            "prometheus-client.",
            hint=f"{prometheus.INSTALL_HINT} Or remove the setting.",
            id="ingestion_progress.W010",
        )


@register()
def check_wakeups(**kwargs: Any) -> Iterator[CheckMessage]:
    from ingestion_progress.wakeups.transports import problem_with

    if problem := problem_with(conf.wakeups):
        yield Error(
            f"INGESTION_PROGRESS_WAKEUPS is {conf.wakeups!r}. {problem}",
            hint=f"Use one of {', '.join(WAKEUPS)}; auto uses what is installed.",
            id="ingestion_progress.E005",
        )


@register(Tags.security)
def check_can_view(**kwargs: Any) -> Iterator[CheckMessage]:
    if problem := _problem_with_rule(conf.can_view):
        yield Error(
            f"INGESTION_PROGRESS_CAN_VIEW is {conf.can_view!r}, which {problem}.",
            hint="Name a function (request, job_id) -> bool, such as 'project.rules.can_view'.",
            id="ingestion_progress.E003",
        )


@register(Tags.security)
def check_visible_jobs(**kwargs: Any) -> Iterator[CheckMessage]:
    if problem := _problem_with_rule(conf.visible_jobs):
        yield Error(
            f"INGESTION_PROGRESS_VISIBLE_JOBS is {conf.visible_jobs!r}, which {problem}.",
            hint="Name a function (request) -> QuerySet of jobs, such as "
            "'ingestion_progress.auth.visibility.own_jobs'.",
            id="ingestion_progress.E007",
        )


def _problem_with_rule(path: str) -> str:
    """Why the setting names no function that can be called; empty if it does, or is not set."""
    if not path:
        return ""
    try:
        hook = import_string(path)
    except Exception as error:  # noqa: BLE001  (importing runs the project's code)
        return f"cannot be imported: {error}"
    is_function = callable(hook) and not iscoroutinefunction(hook)
    return "" if is_function else "is not a synchronous function"


@register(Tags.security)
def check_token_keys(**kwargs: Any) -> Iterator[CheckMessage]:
    from ingestion_progress.auth import tokens

    if problem := tokens.key_problem():
        yield Error(
            problem,
            hint="Remove the INGESTION_PROGRESS_TOKEN_… settings to sign with a key derived from "
            "SECRET_KEY, or see docs/access.md.",
            id="ingestion_progress.E004",
        )


@register(Tags.security, deploy=True)
def check_public(**kwargs: Any) -> Iterator[CheckMessage]:
    if conf.is_public:
        yield Warning(
            "Anyone who reaches this server may watch, start, cancel and retry jobs.",
            hint="Set INGESTION_PROGRESS_PUBLIC = False, unless this is intended.",
            id="ingestion_progress.W002",
        )
