"""How log records look: readable lines in a terminal, one JSON object per line elsewhere.

The app logs with the standard library (`logger.info("sse_stream_started", extra={…})`); what is in
`extra` becomes a field of its own here.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS = ("console", "json")


def logging_config(*, level: str, log_format: str) -> dict[str, Any]:
    """Django's LOGGING; everything goes to standard error, so that commands own their output."""
    renderers: dict[str, list[Processor]] = {
        "console": [
            drop_request_id,
            structlog.dev.ConsoleRenderer(
                colors=_has_colors(),
                # The default shows local variables, and with them what is secret.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
        "json": [structlog.processors.format_exc_info, as_json],
    }
    enrichers: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        drop_record_and_request,
        structlog.processors.TimeStamper(fmt="iso", utc=True)
        if log_format == "json"
        else structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
    ]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": StructuredFormatter,
                "processors": [*enrichers, *renderers[log_format]],
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


class StructuredFormatter(logging.Formatter):
    """Hands records of the standard library through structlog's processors, of which the last one
    makes the line. `structlog.stdlib.ProcessorFormatter` is for structlog's own records as well,
    and takes nearly twice as long: a stream that begins writes one line.
    """

    def __init__(self, processors: Sequence[Processor]) -> None:
        super().__init__()
        self._processors = processors

    def format(self, record: logging.LogRecord) -> str:
        event: Any = {"event": record.getMessage(), "_record": record}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        if record.stack_info:
            event["stack"] = record.stack_info
        for process in self._processors:
            event = process(None, record.levelname.lower(), event)
        return str(event)


def drop_record_and_request(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Django's records carry the request, whose text has the query string in it."""
    del event["_record"]
    event.pop("request", None)
    return event


def as_json(logger: WrappedLogger, name: str, event: EventDict) -> str:
    """structlog's own makes an encoder for each line."""
    return _encoder.encode(event)


_encoder = json.JSONEncoder(default=repr)


def drop_request_id(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """It connects the lines of many users' requests; in a terminal it is noise."""
    event.pop("request_id", None)
    return event


def _has_colors() -> bool:
    wanted = sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR"))
    return wanted and not os.environ.get("NO_COLOR")
