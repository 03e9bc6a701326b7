"""Errors about permissions, tokens and quotas."""

from __future__ import annotations

from ingestion_progress.exceptions.base import IngestionProgressError
from ingestion_progress.exceptions.codes import ErrorCode
from ingestion_progress.exceptions.sentences import Sentence
from ingestion_progress.exceptions.words import WORDS


class AccessRefused(IngestionProgressError):
    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.message)
        self.code = code
        """UNAUTHORIZED, FORBIDDEN, TOKEN_INVALID, TOKEN_EXPIRED or TOKEN_REVOKED."""


class InvalidTokenRequest(IngestionProgressError, ValueError):
    code = ErrorCode.INVALID_REQUEST


class QuotaExceeded(IngestionProgressError):
    code = ErrorCode.TOO_MANY_REQUESTS

    def __init__(self, noun: str, limit: int, retry_after_seconds: int) -> None:
        minutes = -(-retry_after_seconds // 60)
        time = Sentence("%(number)s minutes", number=minutes)
        super().__init__(
            Sentence(
                "Too many %(noun)s: the limit is %(limit)s per hour. Try again in %(time)s.",
                noun=WORDS.get(noun, noun),
                limit=limit,
                time=Sentence("1 minute") if minutes == 1 else time,
            )
        )
        self.headers = {"Retry-After": str(retry_after_seconds)}


class TokenKeyMissing(IngestionProgressError):
    code = ErrorCode.TOKENS_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__(
            Sentence(
                "This server checks tokens with a public key and has no private key to sign them. "
                "Ask the service that has it, or set INGESTION_PROGRESS_TOKEN_PRIVATE_KEY."
            )
        )
