"""Errors about one job: its id, its state, its stages, its writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_progress.exceptions.base import IngestionProgressError
from ingestion_progress.exceptions.codes import ErrorCode
from ingestion_progress.exceptions.sentences import Sentence
from ingestion_progress.exceptions.words import NAME_RULE, WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self


class InvalidJobId(IngestionProgressError, ValueError):
    code = ErrorCode.INVALID_JOB_ID

    def __init__(self) -> None:
        super().__init__(Sentence("A job id has %(rule)s.", rule=NAME_RULE))


class InvalidMetadata(IngestionProgressError, ValueError):
    code = ErrorCode.INVALID_REQUEST

    def __init__(self, problem: Sentence) -> None:
        super().__init__(
            Sentence(
                "The metadata of a job is a small JSON object, but %(problem)s.", problem=problem
            )
        )


class JobNotFound(IngestionProgressError, LookupError):
    code = ErrorCode.NOT_FOUND

    def __init__(self, job_id: str, running: Iterable[str] = ()) -> None:
        if names := ", ".join(running):
            sentence = Sentence(
                "Job not found: %(job)s. Running now: %(names)s.", job=job_id, names=names
            )
        else:
            sentence = Sentence("Job not found: %(job)s", job=job_id)
        super().__init__(sentence)
        self.job_id = job_id


class JobExists(IngestionProgressError):
    code = ErrorCode.JOB_EXISTS

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(
            Sentence(
                "Job %(job)s exists and is %(status)s. Choose another id, or leave it out to get "
                "one.",
                job=job_id,
                status=WORDS.get(status, status),
            )
        )
        self.job_id = job_id
        self.status = status


class JobNotRepeatable(IngestionProgressError):
    code = ErrorCode.NOT_REPEATABLE

    def __init__(self, job_id: str) -> None:
        super().__init__(
            Sentence(
                "Job %(job)s has no stored task that could run it again. Start it where it was "
                "started, or pass task=… to track() or queue_job().",
                job=job_id,
            )
        )
        self.job_id = job_id


class JobSuperseded(IngestionProgressError):
    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"Job {job_id} was started again or deleted since; this attempt may not write to it."
        )
        self.job_id = job_id


class JobCancelled(IngestionProgressError):
    def __init__(self, job_id: str) -> None:
        super().__init__(Sentence("Job %(job)s was cancelled.", job=job_id))
        self.job_id = job_id


class UnknownStage(IngestionProgressError, LookupError):
    def __init__(self, name: str, declared: Iterable[str]) -> None:
        super().__init__(f"Unknown stage {name!r}. This job declares: {', '.join(declared)}.")
        self.name = name


class InvalidCount(IngestionProgressError, ValueError):
    pass


class InvalidTransition(IngestionProgressError):
    def __init__(self, sentence: str, code: ErrorCode = ErrorCode.SERVER_ERROR) -> None:
        super().__init__(sentence)
        self.code = code

    @classmethod
    def of_job(cls, template: str, job_id: str, status: str, code: ErrorCode) -> Self:
        """`template` has `%(job)s` and `%(status)s`, and is marked for translation."""
        status = WORDS.get(status, status)
        return cls(Sentence(template, job=job_id, status=status), code)
