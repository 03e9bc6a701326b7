"""The errors of the app: one catalogue of error codes, and one tree of exceptions.

IngestionProgressError
├── InvalidJobId        not a valid job id (also a ValueError)
├── InvalidBatch        not a valid id of a batch (also a ValueError)
├── InvalidMetadata     metadata that is too large, or not a JSON object (also a ValueError)
├── BatchNotFound       no batch has this id (also a LookupError)
├── BatchRefused        the batch exists, but not for this user
├── BatchExists         the id of the batch is taken
├── BatchActive         the batch has queued or running jobs
├── BatchFull           the job waits, because enough jobs of its batch run
├── JobNotFound         no job has this id (also a LookupError)
├── JobExists           the id is taken
├── UnknownStage        the job declares no such stage (also a LookupError)
├── InvalidCount        a count below 0 or above its total (also a ValueError)
├── InvalidTransition   the current status does not allow the change
├── JobNotRepeatable    no task is stored that could run the job again
├── JobSuperseded       a newer attempt owns the job; this one may not write
├── JobCancelled        the job was cancelled and should stop
├── AccessRefused       no permission to view the job, or an invalid token
├── InvalidTokenRequest a token for too many jobs or too long a time (also a ValueError)
├── QuotaExceeded       too many uploads, tokens or failed logins in a time
├── TokenKeyMissing     this server can check tokens but not sign them
└── ProgressUnavailable the database did not answer in time

Every message states the fact and the remedy, and may be shown to a user. It is a Sentence: the text
of an exception is English, and `translated()` is for the person who reads it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import InterfaceError, OperationalError

# That of `django.utils.translation` needs settings, and this module is imported without.
from django.utils.translation.trans_null import gettext_noop as _

from ingestion_progress.sentences import Sentence, translated

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

DATABASE_UNAVAILABLE = (OperationalError, InterfaceError)
"""What Django raises while its database is unreachable or busy."""
NAME_RULE = Sentence(
    "1 to 255 printable characters, no slash or backslash, and no space at its ends"
)

# Statuses, actions and what is counted, as details of sentences.
WORDS = {
    each: Sentence(each)
    for each in (
        *(_("queued"), _("running"), _("succeeded"), _("failed"), _("cancelled"), _("lost")),
        *(_("cancellation"), _("deletion"), _("loss"), _("retry")),
        *(_("uploads"), _("stream tokens"), _("failed logins")),
    )
}


class ErrorCode(StrEnum):
    """An error for clients: its code, its HTTP status and its sentence.

    Codes are for programs and never change. The sentence is the default text for people; an
    exception may have one with more detail. The status is 200 for errors that are stream events.
    """

    status: int
    message: Sentence
    area: str
    """`api` for codes in the OpenAPI document; else `stream`, `metrics` or `health`."""

    def __new__(cls, code: str, status: int, message: str, area: str = "api") -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.status, member.message, member.area = status, Sentence(message), area
        return member

    BAD_REQUEST = "bad_request", 400, _("The request is malformed.")
    UNAUTHORIZED = "unauthorized", 401, _("Log in: this is not public.")
    TOKEN_INVALID = "token_invalid", 401, _("The token is malformed, or not signed for this site.")
    TOKEN_EXPIRED = "token_expired", 401, _("The token has expired; get a new one.")
    TOKEN_REVOKED = "token_revoked", 401, _("The token was revoked; get a new one.")
    FORBIDDEN = "forbidden", 403, _("This user or token lacks the required permission.")
    CSRF_FAILED = (
        "csrf_failed",
        403,
        _("The request lacks a CSRF token, or comes from another site."),
    )
    NOT_FOUND = "not_found", 404, _("There is no such job or address.")
    METHOD_NOT_ALLOWED = "method_not_allowed", 405, _("This address does not support this method.")
    JOB_EXISTS = "job_exists", 409, _("The job id is taken.")
    BATCH_EXISTS = "batch_exists", 409, _("The id of the batch is taken.")
    BATCH_ACTIVE = "batch_active", 409, _("Jobs of the batch are queued or running.")
    JOB_FINISHED = "job_finished", 409, _("The job has already ended.")
    JOB_RUNNING = "job_running", 409, _("The job is running; cancel it first.")
    JOB_ACTIVE = "job_active", 409, _("The job is queued or running; retry it after its end.")
    NOTHING_FAILED = "nothing_failed", 409, _("None of the job's items failed.")
    NOT_REPEATABLE = "not_repeatable", 409, _("No task is stored that could run the job again.")
    LENGTH_REQUIRED = "length_required", 411, _("An upload must declare its Content-Length.")
    TOO_LARGE = "too_large", 413, _("The document is larger than the limit.")
    UNSUPPORTED_DOCUMENT = "unsupported_document", 415, _("No parser reads this kind of document.")
    INVALID_REQUEST = "invalid_request", 422, _("A parameter is missing or has an invalid value.")
    INVALID_JOB_ID = "invalid_job_id", 422, _("This is not a valid job id.")
    EMPTY_DOCUMENT = "empty_document", 422, _("The document is empty.")
    UNREADABLE_DOCUMENT = "unreadable_document", 422, _("The document is damaged, or mislabelled.")
    TOO_MANY_REQUESTS = "too_many_requests", 429, _("Too many requests; try again later.")
    SERVER_ERROR = (
        "server_error",
        500,
        _("Internal server error; the server's log has the details."),
    )
    ASGI_REQUIRED = (
        "asgi_required",
        501,
        _("Streams need an ASGI server: uvicorn, granian or daphne."),
    )
    TOKENS_UNAVAILABLE = "tokens_unavailable", 501, _("This server has no key to sign tokens with.")
    UNAVAILABLE = "unavailable", 503, _("The database is not reachable; try again.")

    STORAGE_FULL = "storage_full", 507, _("The server's disk is full.")

    FAILED = "failed", 200, _("The job failed."), "stream"
    CANCELLED = "cancelled", 200, _("The job was cancelled."), "stream"
    LOST = "lost", 200, _("The job was lost: its process stopped reporting."), "stream"
    STREAM_ERROR = "stream_error", 200, _("The progress of this job cannot be read."), "stream"
    TOO_MANY_STREAMS = "too_many_streams", 200, _("Too many streams are open; try later."), "stream"

    NOT_INSTALLED = "not_installed", 404, _("Metrics need prometheus-client."), "metrics"
    DATABASE_UNREACHABLE = "database_unreachable", 503, _("The database refuses queries."), "health"
    DATABASE_SILENT = "database_silent", 503, _("The database does not answer in time."), "health"
    MIGRATIONS_MISSING = "migrations_missing", 503, _("Run manage.py migrate."), "health"
    POLLER_FAILING = "poller_failing", 503, _("The progress of jobs cannot be read."), "health"
    DRAINING = "draining", 503, _("This process is shutting down."), "health"


class IngestionProgressError(Exception):
    """Base of everything this app raises on purpose."""

    code = ErrorCode.SERVER_ERROR
    """Of the API's response. Its message is the text of the exception, which SERVER_ERROR hides."""

    @property
    def sentence(self) -> str:
        """The English text; a Sentence if it was raised with one."""
        return self.args[0] if self.args and isinstance(self.args[0], Sentence) else str(self)

    def translated(self) -> str:
        """The text in the language that is active."""
        return str(translated(self.sentence))


class InvalidJobId(IngestionProgressError, ValueError):
    code = ErrorCode.INVALID_JOB_ID

    def __init__(self) -> None:
        super().__init__(Sentence("A job id has %(rule)s.", rule=NAME_RULE))


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
