"""Growing pauses between tries of something that fails, with one log line per change."""

import logging
from typing import Any


class Backoff:
    """Logs `down` at the first failure in a row and `back` at the success that ends the row.

    The pause is `first_seconds` after the first failure, and doubles up to `last_seconds`. At level
    ERROR the failure is logged with its traceback.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        down: str,
        back: str,
        first_seconds: float,
        last_seconds: float,
        level: int = logging.WARNING,
    ) -> None:
        self._logger = logger
        self._down, self._back = down, back
        self._first_seconds, self._last_seconds = first_seconds, last_seconds
        self._level = level
        self._failures = 0

    @property
    def is_failing(self) -> bool:
        return self._failures > 0

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next try; 0 after a success."""
        if not self._failures:
            return 0.0
        return min(self._last_seconds, self._first_seconds * 2.0 ** min(self._failures - 1, 30))

    def failed(self, error: BaseException, **extra: Any) -> None:
        self._failures += 1
        if self._failures == 1:
            traceback = error if self._level >= logging.ERROR else None
            extra["reason"] = _reason(error)
            self._logger.log(self._level, self._down, exc_info=traceback, extra=extra)

    def succeeded(self, **extra: Any) -> None:
        if self._failures:
            extra["failures"] = self._failures
            self._logger.warning(self._back, extra=extra)
        self._failures = 0


def _reason(error: BaseException) -> str:
    """Class and first line of an error, and of the first one in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    first_line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
