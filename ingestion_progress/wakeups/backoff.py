from __future__ import annotations

import logging

logger = logging.getLogger("ingestion_progress.wakeups")

FIRST_PAUSE_SECONDS = 0.25
LAST_PAUSE_SECONDS = 15.0


class Outage:
    """One line in the log when a carrier goes away and one when it is back.

    `direction` is "send" or "receive"; nothing but the delay of a hint depends on either.
    """

    def __init__(self, direction: str) -> None:
        self._direction = direction
        self._failures = 0

    @property
    def pause_seconds(self) -> float:
        """How long to wait before the next try; doubles with each failure in a row."""
        return min(LAST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures, 10))

    def goes_on(self, carrier: str, error: BaseException) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning("wakeups_away", extra=self._facts(carrier) | {"reason": _reason(error)})

    def is_over(self, carrier: str) -> None:
        if self._failures:
            logger.warning("wakeups_back", extra=self._facts(carrier))
        self._failures = 0

    def _facts(self, carrier: str) -> dict[str, str]:
        return {"carrier": carrier, "direction": self._direction}


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    first_line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
