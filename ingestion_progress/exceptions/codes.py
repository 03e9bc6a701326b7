"""The catalogue of error codes: their HTTP statuses and their sentences."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

# The function of `django.utils.translation` needs settings, which this module does without.
from django.utils.translation.trans_null import gettext_noop as _

from ingestion_progress.exceptions.sentences import Sentence, StoredSentence

if TYPE_CHECKING:
    from typing import Self


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
    NOT_FOUND = "not_found", 404, StoredSentence("There is no such job or address.")
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

    FAILED = "failed", 200, StoredSentence("The job failed."), "stream"
    CANCELLED = "cancelled", 200, StoredSentence("The job was cancelled."), "stream"
    LOST = "lost", 200, StoredSentence("The job was lost: its process stopped reporting."), "stream"
    STREAM_ERROR = (
        "stream_error",
        200,
        StoredSentence("The progress of this job cannot be read."),
        "stream",
    )
    TOO_MANY_STREAMS = (
        "too_many_streams",
        200,
        StoredSentence("Too many streams are open; try later."),
        "stream",
    )

    NOT_INSTALLED = "not_installed", 404, _("Metrics need prometheus-client."), "metrics"
    DATABASE_UNREACHABLE = "database_unreachable", 503, _("The database refuses queries."), "health"
    DATABASE_SILENT = "database_silent", 503, _("The database does not answer in time."), "health"
    MIGRATIONS_MISSING = "migrations_missing", 503, _("Run manage.py migrate."), "health"
    POLLER_FAILING = "poller_failing", 503, _("The progress of jobs cannot be read."), "health"
    DRAINING = "draining", 503, _("This process is shutting down."), "health"
