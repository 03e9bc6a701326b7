"""System checks: a wrong setting is a message with an id and a hint, not an exception."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import router
from django.utils.module_loading import import_string

from ingestion_progress.conf import WAKEUPS, conf
from ingestion_progress.monitoring import metrics


@register(Tags.database)
def check_sqlite_options(**kwargs: Any) -> list[CheckMessage]:
    from ingestion_progress.models import Job

    database = settings.DATABASES.get(router.db_for_write(Job), {})
    if "sqlite3" not in database.get("ENGINE", ""):
        return []
    options = database.get("OPTIONS", {})
    if str(options.get("transaction_mode", "")).upper() == "IMMEDIATE":
        return []
    return [
        checks.Warning(
            "Several writers of a SQLite file in its default transaction mode run into "
            "'database is locked'.",
            hint="Set OPTIONS['transaction_mode'] = 'IMMEDIATE' and "
            "OPTIONS['init_command'] = 'PRAGMA journal_mode=WAL;' for the progress database.",
            id="ingestion_progress.W001",
        )
    ]


@register()
def check_database_alias(**kwargs: Any) -> list[CheckMessage]:
    if conf.database in settings.DATABASES:
        return []
    return [
        Error(
            f"INGESTION_PROGRESS_DATABASE is {conf.database!r}, which DATABASES does not define.",
            hint=f"Use one of: {', '.join(settings.DATABASES)}.",
            id="ingestion_progress.E001",
        )
    ]


@register()
def check_intervals(**kwargs: Any) -> list[CheckMessage]:
    return not_positive(conf)


def not_positive(conf: object) -> list[CheckMessage]:
    """An error for each setting that counts seconds, minutes, bytes or items and is not above 0."""
    units = ("_seconds", "_minutes", "_bytes", "_per_job")
    messages: list[CheckMessage] = []
    for name in dir(type(conf)):
        if not name.endswith(units):
            continue
        try:
            is_positive = getattr(conf, name) > 0
        except (TypeError, ValueError):
            is_positive = False
        if not is_positive:
            messages.append(
                Error(
                    f"INGESTION_PROGRESS_{name.upper()} must be a number above 0.",
                    hint="Remove the setting to use the default.",
                    id="ingestion_progress.E002",
                )
            )
    return messages


@register()
def check_metrics(**kwargs: Any) -> list[CheckMessage]:
    if not conf.metrics_token or metrics.is_available():
        return []
    return [
        checks.Warning(
            "INGESTION_PROGRESS_METRICS_TOKEN is set, but /metrics answers 404 without "
            "prometheus-client.",
            hint="pip install 'django-ingestion-progress[metrics]', or remove the setting.",
            id="ingestion_progress.W010",
        )
    ]


@register()
def check_wakeups(**kwargs: Any) -> list[CheckMessage]:
    from ingestion_progress.wakeups.transports import problem_with

    if not (problem := problem_with(conf.wakeups)):
        return []
    return [
        Error(
            f"INGESTION_PROGRESS_WAKEUPS is {conf.wakeups!r}. {problem}",
            hint=f"Use one of {', '.join(WAKEUPS)}; auto takes what there is.",
            id="ingestion_progress.E005",
        )
    ]


@register()
def check_stream_limits(**kwargs: Any) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for name in ("max_streams", "max_streams_per_user", "max_streams_per_address"):
        try:
            is_possible = getattr(conf, name) >= 0
        except (TypeError, ValueError):
            is_possible = False
        if not is_possible:
            messages.append(
                Error(
                    f"INGESTION_PROGRESS_{name.upper()} must be a whole number; 0 is no limit.",
                    hint="Remove the setting to use the default.",
                    id="ingestion_progress.E006",
                )
            )
    return messages


@register(Tags.security)
def check_can_view(**kwargs: Any) -> list[CheckMessage]:
    if not conf.can_view:
        return []
    try:
        hook = import_string(conf.can_view)
    except Exception as error:  # noqa: BLE001  (importing runs the project's code)
        problem = f"cannot be imported: {error}"
    else:
        if callable(hook) and not iscoroutinefunction(hook):
            return []
        problem = "is not a plain function"
    return [
        Error(
            f"INGESTION_PROGRESS_CAN_VIEW is {conf.can_view!r}, which {problem}.",
            hint="Name a function (request, job_id) -> bool, as 'project.rules.can_view'.",
            id="ingestion_progress.E003",
        )
    ]


@register(Tags.security)
def check_token_keys(**kwargs: Any) -> list[CheckMessage]:
    from ingestion_progress.auth import tokens

    problem = tokens.key_problem()
    if not problem:
        return []
    return [
        Error(
            problem,
            hint="Remove the INGESTION_PROGRESS_TOKEN_… settings to sign with a key derived from "
            "SECRET_KEY, or see docs/access.md.",
            id="ingestion_progress.E004",
        )
    ]


@register(Tags.security, deploy=True)
def check_public(**kwargs: Any) -> list[CheckMessage]:
    if not conf.is_public:
        return []
    return [
        checks.Warning(
            "Anyone who reaches this server may watch, start and cancel jobs.",
            hint="Set INGESTION_PROGRESS_PUBLIC = False, unless that is on purpose.",
            id="ingestion_progress.W002",
        )
    ]
