"""How log records look: readable lines in a terminal, one JSON object per line elsewhere.

The app logs with the standard library, `logger.info("sse_stream_started", extra={…})`. structlog
formats the records; each key of `extra` becomes a field.
"""

import os
import sys
from typing import Any

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from ingestion_progress.management.terminal.output import (
    printable,
    printable_json,
    printable_lines,
)

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS = ("console", "json")
MULTILINE = frozenset({"exception", "stack"})
# A URL may have 60 KB, and a name or a header as much.
MAX_FIELD_LENGTH = 500
FOREIGN_HOST = "django.security.DisallowedHost"


def logging_config(*, level: str, log_format: str) -> dict[str, Any]:
    """Django's LOGGING. Records go to standard error: standard output is for commands."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [
                    structlog.contextvars.merge_contextvars,
                    structlog.stdlib.add_log_level,
                    structlog.stdlib.add_logger_name,
                    structlog.stdlib.ExtraAdder(),
                    _without_traceback,
                    _shortened,
                    _without("request"),  # Django's request, whose text has the query string
                ],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *_renderers(log_format),
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": []},  # Django's own handler would print every record again
            # Its line has the query string, which may hold a token; `request_finished` has not.
            "django.server": {"handlers": [], "level": "WARNING"},
            "django.channels.server": {"level": "WARNING"},
            "daphne": {"level": "WARNING"},
            # A traceback per second while Redis is down; the app logs the outage once.
            "channels_redis": {"level": "CRITICAL"},
            "httpx": {"level": "WARNING"},  # one line per request to a Qdrant server
        },
    }


def _renderers(log_format: str) -> list[Processor]:
    if log_format == "json":
        return [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
            _printable_json,
        ]
    return [
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        _without("request_id"),  # of little use in a terminal
        structlog.processors.format_exc_info,  # has no local variables, which may be secret
        _printable,
        structlog.dev.ConsoleRenderer(
            colors=_has_colors(),
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]


def _without(field: str) -> Processor:
    def drop(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        event.pop(field, None)
        return event

    return drop


def _without_traceback(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Drops the traceback of a request for another host, whose message is enough."""
    if event["logger"] == FOREIGN_HOST:
        event.pop("exc_info", None)
    return event


def _shortened(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str) and len(value) > MAX_FIELD_LENGTH:
            event[key] = f"{value[:MAX_FIELD_LENGTH]}… ({len(value)} characters)"
    return event


def _printable(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Replaces control characters; the renderer would print the `repr` of other values."""
    for key, value in event.items():
        clean = printable_lines if key in MULTILINE else printable
        event[key] = clean(value if isinstance(value, str) else repr(value))
    return event


def _printable_json(logger: WrappedLogger, name: str, line: Any) -> Any:
    return printable_json(line)


def _has_colors() -> bool:
    wanted = sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR"))
    return wanted and not os.environ.get("NO_COLOR")
