"""What the errors of the client mean: the endpoint is away, the request is refused, or neither."""

from __future__ import annotations

import email.utils
import re
import time

from openai import APIConnectionError, APIStatusError, APITimeoutError

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import ModelRefused, UnusableAnswer

# the question or a key.
# The form of the server's name for the error. Nothing else of its answer is shown: it may repeat
# the question or a key.
# the question or a key.
CODE = re.compile(r"[\w.-]{1,60}")
CONFIGURATION = {
    401: StoredSentence(
        "The server of the model, %(host)s, does not accept the key. Correct OPENAI_API_KEY."
    ),
    403: StoredSentence(
        "The server of the model, %(host)s, does not permit this request. Check what "
        "OPENAI_API_KEY may use."
    ),
    404: StoredSentence(
        "The server of the model, %(host)s, has no such model or address. Correct the model's name "
        "or OPENAI_BASE_URL."
    ),
}
# Request time-out, conflict, too early.
TEMPORARY = frozenset({408, 409, 425})
RATE_LIMIT = 429
SERVER_ERROR = 500


class TemporaryFailure(Exception):
    """It may pass, without a change of the question or of the settings."""

    def __init__(self, retry_after: float | None = None) -> None:
        """`retry_after`: seconds, as the server asks."""
        super().__init__()
        self.retry_after = retry_after


class RateLimited(TemporaryFailure): ...


class Away(TemporaryFailure):
    """No connection, or one that broke."""


class Failed(TemporaryFailure):
    """The server failed, or did not answer in time: perhaps at this question only."""


def meaning_of(error: Exception, host: str) -> Exception:
    """A TemporaryFailure, ModelRefused or UnusableAnswer, without texts of the server."""
    if isinstance(error, APIStatusError):
        return _of_status(error, host)
    if isinstance(error, APITimeoutError):
        return Failed()
    if isinstance(error, APIConnectionError):
        return Away()
    return UnusableAnswer(
        StoredSentence("The answer of %(host)s does not have the form of its API.", host=host)
    )


def _of_status(error: APIStatusError, host: str) -> Exception:
    status = error.status_code
    if status == RATE_LIMIT:
        return RateLimited(_retry_after(error))
    if status >= SERVER_ERROR or status in TEMPORARY:
        return Failed(_retry_after(error))
    if status in CONFIGURATION:
        return ModelRefused(StoredSentence(CONFIGURATION[status], host=host))
    code = error.code if error.code and CODE.fullmatch(error.code) else ""
    reason = f"{status}, {code}" if code else str(status)
    return UnusableAnswer(
        StoredSentence("The server of the model refused the question (%(code)s).", code=reason)
    )


def _retry_after(error: APIStatusError) -> float | None:
    """Seconds, from a number or a date; None if the server names no time."""
    headers = error.response.headers
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after", "")
        date = email.utils.parsedate_tz(value)
        seconds = email.utils.mktime_tz(date) - time.time() if date else float(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds) if seconds < float("inf") else None
