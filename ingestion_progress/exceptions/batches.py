"""Errors about a batch."""

from __future__ import annotations

from ingestion_progress.exceptions.base import IngestionProgressError
from ingestion_progress.exceptions.codes import ErrorCode
from ingestion_progress.exceptions.sentences import Sentence
from ingestion_progress.exceptions.words import NAME_RULE


class InvalidBatch(IngestionProgressError, ValueError):
    def __init__(self) -> None:
        super().__init__(Sentence("The id of a batch has %(rule)s.", rule=NAME_RULE))


class BatchNotFound(IngestionProgressError, LookupError):
    code = ErrorCode.NOT_FOUND

    def __init__(self, batch_id: str) -> None:
        super().__init__(Sentence("Batch not found: %(batch)s", batch=batch_id))


class BatchRefused(IngestionProgressError):
    """An upload may not join it. The text does not say that it exists."""

    code = ErrorCode.INVALID_REQUEST

    def __init__(self) -> None:
        super().__init__(Sentence("batch: this name cannot be used."))


class BatchExists(IngestionProgressError):
    code = ErrorCode.BATCH_EXISTS

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            Sentence(
                "Batch %(batch)s exists. Choose another id, or leave it out to get one.",
                batch=batch_id,
            )
        )


class BatchActive(IngestionProgressError):
    code = ErrorCode.BATCH_ACTIVE

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            Sentence(
                "Jobs of batch %(batch)s are queued or running; cancel them first.",
                batch=batch_id,
            )
        )


class BatchFull(IngestionProgressError):
    def __init__(self, job_id: str, batch_id: str) -> None:
        super().__init__(
            f"Job {job_id} waits until fewer jobs of batch {batch_id} run. Its task is queued then."
        )
        self.job_id = job_id
