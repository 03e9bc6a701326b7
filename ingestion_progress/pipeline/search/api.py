"""The API operation that searches."""

import re
from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from ingestion_progress.api.errors import error_responses
from ingestion_progress.api.schemas import OptionalId, split_commas
from ingestion_progress.api.unknown_parameters import refuse_unknown
from ingestion_progress.auth import permissions
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.pipeline.search import MAX_LIMIT, MAX_OFFSET, SearchHit, search
from ingestion_progress.pipeline.search.filters import SearchFilters
from ingestion_progress.pipeline.stages import LANGUAGE

MAX_API_QUERY_LENGTH = 200
# No control characters, and not only spaces. Invisible characters that join or separate others are
# allowed: Persian, Hindi and emoji need them.
_CONTROLS = r"\x00-\x1f\x7f-\x9f"
WORDS = rf"^[^{_CONTROLS}]*[^{_CONTROLS}\s][^{_CONTROLS}]*$"
PAIR = rf"^[^{_CONTROLS}:]+:[^{_CONTROLS}]*$"
TEXT = rf"^[^{_CONTROLS}]+$"
# The most values of each filter.
MAX_VALUES = 50

router = Router()


def words(text: str) -> str:
    """The query without surrounding spaces. Its error becomes an entry of a 422."""
    if not re.fullmatch(WORDS, text):
        raise PydanticCustomError("words", "1 or more characters, and no control characters")
    return text.strip()


Value = Annotated[str, Field(min_length=1, max_length=255, pattern=TEXT)]
Pair = Annotated[str, Field(min_length=2, max_length=255, pattern=PAIR)]
Page = Annotated[int, Field(ge=1, le=1_000_000)]
Language = Annotated[str, Field(pattern=f"^{LANGUAGE}$")]


class SearchQuery(BaseModel):
    q: Annotated[str, AfterValidator(words)] = Field(
        min_length=1,
        max_length=MAX_API_QUERY_LENGTH,
        description="The words to look for.",
        json_schema_extra={"pattern": WORDS},
    )
    limit: int = Field(default=10, ge=1, le=MAX_LIMIT, description="At most this many.")
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET, description="Skip this many first.")
    document: list[Value] = Field(
        default=[], max_length=MAX_VALUES, description="Only in these documents, by id; repeated."
    )
    batch: OptionalId = Field(
        default=None,
        description="Only in documents that a job of this batch ingests or has ingested.",
    )
    media_type: Annotated[list[Value], BeforeValidator(split_commas)] = Field(
        default=[],
        max_length=MAX_VALUES,
        description="Only these media types, as `application/pdf`: repeated or comma-separated.",
    )
    page: list[Page] = Field(
        default=[], max_length=MAX_VALUES, description="Only on these pages; repeated."
    )
    language: Annotated[list[Language], BeforeValidator(split_commas)] = Field(
        default=[],
        max_length=MAX_VALUES,
        description="Only passages in these languages, by their codes of ISO 639, as `de`: "
        "repeated or comma-separated.",
    )
    dense_weight: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="With dense vectors: 0 compares words only, 1 meaning only. By default that "
        "of the settings.",
    )
    metadata: list[Pair] = Field(
        default=[],
        max_length=MAX_VALUES,
        description="Only in documents whose job has this in its metadata, as `team:legal`; "
        "repeated: all of them.",
    )

    @property
    def filters(self) -> SearchFilters:
        pairs = [pair.partition(":") for pair in self.metadata]
        return SearchFilters(
            documents=self.document,
            batch=self.batch or "",
            media_types=self.media_type,
            pages=self.page,
            languages=self.language,
            metadata=[(key, value) for key, _, value in pairs],
        )


class SearchResultSchema(BaseModel):
    query: str
    items: list[SearchHit] = Field(description="Best first.")


@router.get(
    "/search",
    response={
        200: SearchResultSchema,
        **error_responses(ErrorCode.INVALID_REQUEST, ErrorCode.UNAVAILABLE),
    },
    summary="Search the ingested documents",
    operation_id="search",
    url_name="search",
    tags=["Search"],
)
def search_documents(request: HttpRequest, query: Query[SearchQuery]) -> SearchResultSchema:
    """The passages that match best, with their places, entities and relations.

    Empty if nothing matches. Unknown parameters are refused. It is answered with 503 if the vector
    store does not answer in time.
    """
    refuse_unknown(request, SearchQuery)
    hits = search(
        query.q,
        limit=query.limit,
        offset=query.offset,
        filters=query.filters,
        jobs=permissions.visible_jobs(request),
        dense_weight=query.dense_weight,
    )
    return SearchResultSchema(query=query.q, items=hits)
