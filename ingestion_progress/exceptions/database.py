"""Errors of the database: those of Django, and ours for a person who waits for a write."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

from ingestion_progress.exceptions.base import IngestionProgressError
from ingestion_progress.exceptions.codes import ErrorCode
from ingestion_progress.exceptions.sentences import Sentence
from ingestion_progress.exceptions.words import WORDS

DATABASE_UNAVAILABLE = (OperationalError, InterfaceError)
"""What Django raises while its database is unreachable or busy."""


class ProgressUnavailable(IngestionProgressError):
    code = ErrorCode.UNAVAILABLE

    def __init__(self, job_id: str, action: str) -> None:
        super().__init__(
            Sentence(
                "The database did not confirm the %(action)s of job %(job)s in time. "
                "Is it reachable and not locked by a long transaction?",
                action=WORDS.get(action, action),
                job=job_id,
            )
        )
        self.job_id = job_id
