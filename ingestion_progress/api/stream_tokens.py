"""The operations that issue and revoke stream tokens."""

from datetime import UTC, datetime
from typing import Annotated, Literal, cast

from django.http import HttpRequest, HttpResponse
from ninja import Router, Status
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic.config import JsonDict

from ingestion_progress.api.auth import LoggedIn, MayIssueToken
from ingestion_progress.api.errors import error_responses
from ingestion_progress.api.schemas import Id
from ingestion_progress.auth import permissions, quotas, revocations, tokens
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import ErrorCode

PATH = "/admin/ingestion/stream-tokens"
CURL = (
    "curl -X POST -H 'Content-Type: application/json' "
    f"""-d '{{"jobs": ["JOB_ID"]}}' http://localhost:8000/api/v1{PATH}"""
)

router = Router()

Ids = Annotated[list[Id], Field(min_length=1, max_length=tokens.MAX_JOBS)]


def shape_of(jobs: object) -> str:
    return "all" if isinstance(jobs, str) else "ids"


def add_maximum(minutes: JsonDict) -> None:
    """Documents the configured maximum, which `tokens.issue` checks."""
    number, _ = cast("list[JsonDict]", minutes["anyOf"])
    number["maximum"] = conf.token_max_minutes


class StreamTokenRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    # A discriminator, so that a mistake is reported once and for the right alternative.
    jobs: Annotated[
        Annotated[Ids, Tag("ids")] | Annotated[Literal["*"], Tag("all")], Discriminator(shape_of)
    ] = Field(description="Ids of jobs, which need not exist yet; or `*` for all jobs.")
    minutes: float | None = Field(
        default=None,
        gt=0,
        description="Lifetime of the token; by default `INGESTION_PROGRESS_TOKEN_MINUTES`, and at "
        "most `INGESTION_PROGRESS_TOKEN_MAX_MINUTES`.",
        json_schema_extra=add_maximum,
    )


class StreamTokenSchema(BaseModel):
    id: str = Field(description="The id by which the token can be revoked.")
    token: str = Field(description="For `Authorization: Bearer` or `?token=`.")
    jobs: list[str] | Literal["*"]
    expires_at: datetime = Field(description="Streams opened with the token end then, too.")


@router.post(
    PATH,
    response={
        200: StreamTokenSchema,
        **error_responses(
            ErrorCode.BAD_REQUEST, ErrorCode.INVALID_REQUEST, ErrorCode.TOKENS_UNAVAILABLE
        ),
        **error_responses(ErrorCode.TOO_MANY_REQUESTS, ErrorCode.UNAVAILABLE),
    },
    summary="Issue a stream token",
    url_name="stream_tokens",
    tags=["Progress"],
    auth=MayIssueToken(),
    openapi_extra={
        "x-codeSamples": [{"lang": "Shell", "label": "curl", "source": CURL}],
    },
)
def create_stream_token(
    request: HttpRequest, response: HttpResponse, wanted: StreamTokenRequest
) -> StreamTokenSchema:
    """A short-lived token for jobs that you may view. Its bearer may read their streams and state.

    It never permits more than you may view yourself: without your account or permission it is
    invalid. A token cannot be exchanged for another one.
    """
    jobs = None if wanted.jobs == tokens.ALL_JOBS else list(wanted.jobs)
    for job_id in [""] if jobs is None else jobs:
        permissions.grant_view(request, job_id, by_token=False)
    quotas.count(request, quotas.TOKENS)
    text, token = tokens.issue(
        jobs, minutes=wanted.minutes, issuer_id=permissions.user_id_of(request)
    )
    response["Cache-Control"] = "no-store"
    return StreamTokenSchema(
        id=token.id,
        token=text,
        jobs=tokens.ALL_JOBS if token.jobs is None else sorted(token.jobs),
        expires_at=datetime.fromtimestamp(token.expires_at, UTC),
    )


@router.delete(
    PATH + "/{token_id}",
    response={
        204: None,
        **error_responses(
            ErrorCode.INVALID_REQUEST, ErrorCode.TOO_MANY_REQUESTS, ErrorCode.UNAVAILABLE
        ),
    },
    summary="Revoke a stream token",
    url_name="stream_token",
    tags=["Progress"],
    auth=MayIssueToken(),
)
def revoke_stream_token(request: HttpRequest, token_id: str) -> Status[None]:
    """Refuses the token from now on, by the `id` in the response that issued it.

    Its open streams end within `INGESTION_PROGRESS_RECHECK_SECONDS`. Ids cannot be guessed: to know
    one is enough to revoke its token. An unknown id gets the same answer.
    """
    quotas.count(request, quotas.TOKENS)
    revocations.revoke(token_id)
    return Status(204, None)


@router.delete(
    PATH,
    response={204: None, **error_responses(ErrorCode.UNAVAILABLE)},
    summary="Revoke all of your stream tokens",
    tags=["Progress"],
    auth=LoggedIn(),
)
def revoke_my_stream_tokens(request: HttpRequest) -> Status[None]:
    """Refuses every token that you have got until now, and ends their streams."""
    quotas.count(request, quotas.TOKENS)
    revocations.revoke_all_of(permissions.user_id_of(request))
    return Status(204, None)
