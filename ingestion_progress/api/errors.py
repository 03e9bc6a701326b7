"""What the API says when it says no: one JSON shape, one list of codes.

`{"code": "job_exists", "message": "Job a exists and is running. …"}`, and nothing internal in it.
"""

from __future__ import annotations

from typing import Any

from django.http import JsonResponse
from pydantic import BaseModel, Field

# Code: the HTTP status that it comes with, and what it means.
CODES: dict[str, tuple[int, str]] = {
    "bad_request": (400, "The request is malformed."),
    "unauthorized": (401, "Log in: this is not public."),
    "token_invalid": (401, "The token does not count here: malformed, or not signed for this."),
    "token_expired": (401, "The token has expired; get a new one."),
    "forbidden": (403, "This user may not do that."),
    "csrf_failed": (403, "A browser sent this for another site, or without the CSRF token."),
    "not_found": (404, "There is no such job, or no such address."),
    "method_not_allowed": (405, "The address exists, but not for this method."),
    "job_exists": (409, "The job id is taken."),
    "job_finished": (409, "The job has ended already."),
    "job_running": (409, "The job is running; cancel it first."),
    "length_required": (411, "An upload says in Content-Length how long it is."),
    "too_large": (413, "The document is larger than the limit, which is named."),
    "unsupported_document": (415, "No parser for this kind of document."),
    "invalid_request": (422, "A parameter is missing or has a value that it cannot have."),
    "invalid_job_id": (422, "This cannot be the id of a job."),
    "empty_document": (422, "There is nothing in the document."),
    "unreadable_document": (422, "The document is damaged, or not what its name says."),
    "server_error": (500, "A fault of the server; its log has the details."),
    "asgi_required": (501, "A stream needs an ASGI server; this one speaks WSGI."),
    "tokens_unavailable": (501, "Tokens can be checked here, but not signed."),
    "unavailable": (503, "The database is away; try again."),
}


class FieldErrorSchema(BaseModel):
    field: str = Field(description="The parameter concerned.")
    message: str


class ErrorSchema(BaseModel):
    """The answer to every request that failed."""

    code: str = Field(description="Stable, for programs.", json_schema_extra={"enum": list(CODES)})
    message: str = Field(description="What is the case and what to do about it, for people.")
    errors: list[FieldErrorSchema] | None = Field(
        default=None, description="With `invalid_request`: one entry per parameter."
    )
    limit_bytes: int | None = Field(default=None, description="With `too_large`: the limit.")


class ApiError(Exception):
    """Raised anywhere below an operation, it becomes the response."""

    def __init__(self, code: str, message: str = "", **details: Any) -> None:
        self.code = code
        self.status, meaning = CODES[code]
        self.message = message or meaning
        self.details = details
        super().__init__(self.message)

    def response(self) -> JsonResponse:
        body = ErrorSchema(code=self.code, message=self.message, **self.details)
        return JsonResponse(body.model_dump(exclude_none=True), status=self.status)


def error_responses(*codes: str) -> dict[int, type[ErrorSchema]]:
    """What an operation declares: the statuses of its codes, and those that any request may get."""
    return {CODES[code][0]: ErrorSchema for code in (*codes, "server_error")}


def document_refusal(status: int) -> dict[str, Any]:
    """A response with an error status in the OpenAPI document: the codes that it may carry."""
    meanings = {code: meaning for code, (number, meaning) in CODES.items() if number == status}
    first, meaning = next(iter(meanings.items()))
    return {
        "description": " ".join(f"`{code}`: {text}" for code, text in meanings.items()),
        "content": {
            "application/json": {
                "schema": {"$ref": f"#/components/schemas/{ErrorSchema.__name__}"},
                "example": {"code": first, "message": meaning},
            }
        },
    }
