"""Tokens for those who watch without a session: another origin's page, a program, a phone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ingestion_progress import access, tokens
from ingestion_progress.api.errors import error_responses
from ingestion_progress.api.guards import MayMint
from ingestion_progress.api.jobs import SEEING
from ingestion_progress.models import clean_job_id

PATH = "/admin/ingestion/stream-tokens"
CURL = (
    "curl -X POST -H 'Content-Type: application/json' "
    f"""-d '{{"jobs": ["JOB_ID"]}}' http://localhost:8000/api/v1{PATH}"""
)

JobId = Annotated[str, AfterValidator(clean_job_id)]


class StreamTokenRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    jobs: Annotated[list[JobId], Field(min_length=1, max_length=tokens.MAX_JOBS)] | Literal["*"] = (
        Field(description="Ids of jobs, which need not exist yet; or `*` for all jobs.")
    )
    minutes: float | None = Field(
        default=None,
        gt=0,
        description="How long it lives; by default `INGESTION_PROGRESS_TOKEN_MINUTES`, and at "
        "most `INGESTION_PROGRESS_TOKEN_MAX_MINUTES`.",
    )


class StreamTokenSchema(BaseModel):
    token: str = Field(description="For `Authorization: Bearer` or `?token=`.")
    jobs: list[str] | Literal["*"]
    expires_at: datetime = Field(description="A stream that it opened ends then, too.")


def add_operations(router: Router) -> None:
    router.post(
        PATH,
        response={
            200: StreamTokenSchema,
            **error_responses(*SEEING, "bad_request", "invalid_request", "tokens_unavailable"),
        },
        summary="Get a token to watch jobs with",
        operation_id="create_stream_token",
        url_name="stream_tokens",
        tags=["Progress"],
        auth=MayMint(),
        openapi_extra={
            "x-codeSamples": [{"lang": "Shell", "label": "curl", "source": CURL}],
        },
    )(create_stream_token)


def create_stream_token(
    request: HttpRequest, response: HttpResponse, wanted: StreamTokenRequest
) -> StreamTokenSchema:
    """A short-lived token for jobs that you may see yourself. It opens their streams and reads.

    It is worth what its maker may see, at any time: it ends early with the account or the
    permission. A token cannot be exchanged for another one.
    """
    jobs = None if wanted.jobs == tokens.ALL_JOBS else list(wanted.jobs)
    for job_id in [""] if jobs is None else jobs:
        access.grant_view(request, job_id, by_token=False)
    text, token = tokens.mint(jobs, minutes=wanted.minutes, minted_by=access.user_id_of(request))
    response["Cache-Control"] = "no-store"
    return StreamTokenSchema(
        token=text,
        jobs=tokens.ALL_JOBS if token.jobs is None else sorted(token.jobs),
        expires_at=datetime.fromtimestamp(token.expires_at, UTC),
    )
