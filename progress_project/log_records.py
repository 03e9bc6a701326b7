"""How log records look: readable lines in a terminal, one JSON object per line elsewhere.

The app logs with the standard library (`logger.info("sse_stream_started", extra={…})`); what is in
`extra` becomes a field of its own here.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS = ("console", "json")


def logging_config(*, level: str, log_format: str) -> dict[str, Any]:
    """Django's LOGGING; everything goes to standard error, so that commands own their output."""
    renderers = {
        "console": [
            drop_request_id,
            structlog.dev.ConsoleRenderer(
                colors=_has_colors(),
                # The default shows local variables, and with them what is secret.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
        "json": [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
    }
    enrichers: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        drop_request,
        structlog.processors.TimeStamper(fmt="iso", utc=True)
        if log_format == "json"
        else structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
    ]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": enrichers,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *renderers[log_format],
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": []},  # its own would print everything twice
            # `request_finished` says the same without the query string, where tokens travel.
            "django.server": {"handlers": [], "level": "WARNING"},
            "django.channels.server": {"level": "WARNING"},
            "daphne": {"level": "WARNING"},
            # A traceback a second while Redis is away; `wakeups_away` says it once.
            "channels_redis": {"level": "CRITICAL"},
            "httpx": {"level": "WARNING"},  # a line per call to a Qdrant server
        },
    }


def drop_request(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Django's records carry the request, whose text has the query string in it."""
    event.pop("request", None)
    return event


def drop_request_id(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """It connects the lines of many users' requests; in a terminal it is noise."""
    event.pop("request_id", None)
    return event


def _has_colors() -> bool:
    wanted = sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR"))
    return wanted and not os.environ.get("NO_COLOR")
