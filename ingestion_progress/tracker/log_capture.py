"""What a task logs by `logging` in its block becomes lines of the job's log."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models.statuses import EventLevel
from ingestion_progress.tracker.buffer import Buffer
from ingestion_progress.tracker.error_messages import without_secrets

LogFilter = Callable[[str], str | None]

# The limit of one attempt; the log of a job has a limit too (MAX_EVENTS_PER_JOB).
MAX_CAPTURED_LINES = 500
TOO_MANY = StoredSentence(
    "More than %(number)s log records: the others are not stored.", number=MAX_CAPTURED_LINES
)
# The app logs about its writes, which a line of the log would cause.
OWN_LOGGERS = "ingestion_progress"


_current: ContextVar[LogCapture | None] = ContextVar("current_capture", default=None)


def set_capture(capture: LogCapture | None) -> LogCapture | None:
    """Makes this take the records of the running code, and returns the former one."""
    former = _current.get()
    _current.set(capture)
    return former


class LogCapture:
    """Takes the records of one `track` block. Thread-safe."""

    def __init__(self, level: int, log_filter: LogFilter = without_secrets) -> None:
        """`log_filter` returns the text to store, or None to drop the line."""
        self._level = level
        self._filter = log_filter
        self._numbers = itertools.count()
        self._buffer: Buffer | None = None

    def start(self, buffer: Buffer) -> None:
        self._buffer = buffer
        _handler.enter()

    def stop(self) -> None:
        """May be called twice."""
        if self._buffer is not None:
            self._buffer = None
            _handler.leave()

    def add(self, record: logging.LogRecord) -> None:
        """Raises what the filter and the formatting of the record raise."""
        if self._buffer is None or record.levelno < self._level:
            return
        if (text := self._filter(_text_of(record))) is None:
            return
        number = next(self._numbers)
        if number < MAX_CAPTURED_LINES:
            self._buffer.log_line(text, level=_level_of(record))
        elif number == MAX_CAPTURED_LINES:
            self._buffer.log_line(TOO_MANY, level=EventLevel.WARNING)


class CaptureHandler(logging.Handler):
    """Gives each record to the capture of the context. On the root logger while there is one.

    A thread or task has the capture of the context in which it runs, so other code has none.
    """

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        self._counting = threading.Lock()
        self._state = threading.local()

    def enter(self) -> None:
        with self._counting:
            self._count += 1
            logging.getLogger().addHandler(self)  # again, if logging was configured meanwhile

    def leave(self) -> None:
        with self._counting:
            self._count -= 1
            if not self._count:
                logging.getLogger().removeHandler(self)

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the handler's lock: a line may have to wait for the database in tests."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        if (capture := _current.get()) is None or _is_own(record):
            return
        if getattr(self._state, "is_busy", False):  # storing the line has logged something
            return
        self._state.is_busy = True
        try:
            capture.add(record)
        except Exception:  # noqa: BLE001  (logging must not stop a task)
            self.handleError(record)
        finally:
            self._state.is_busy = False


_handler = CaptureHandler()


def _is_own(record: logging.LogRecord) -> bool:
    return record.name == OWN_LOGGERS or record.name.startswith(f"{OWN_LOGGERS}.")


def _text_of(record: logging.LogRecord) -> str:
    """The name of the logger, the message and the exception, without its traceback."""
    fields: Any = record.msg
    if isinstance(fields, dict) and "event" in fields:  # structlog gives its fields to the handler
        known = {"event", "level", "logger", "timestamp"}
        others = [f"{key}={value}" for key, value in fields.items() if key not in known]
        message = " ".join([str(fields["event"]), *(each for each in others if each[0] != "_")])
    else:
        message = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    cause = f": {type(error).__name__}: {error}" if error is not None else ""
    return f"{record.name}: {message}{cause}"


def _level_of(record: logging.LogRecord) -> EventLevel:
    if record.levelno >= logging.ERROR:
        return EventLevel.ERROR
    return EventLevel.WARNING if record.levelno >= logging.WARNING else EventLevel.INFO
