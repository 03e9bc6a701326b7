"""The API operation that searches the ingested documents."""

from __future__ import annotations

import re
from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from ingestion_progress.api.errors import error_responses
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.pipeline.search import MAX_LIMIT, SearchHit, search

MAX_QUERY_LENGTH = 200

router = Router()

# No control characters, and not only spaces. Invisible characters that join or separate others are
# allowed: Persian, Hindi and emoji need them.
_CONTROLS = r"\x00-\x1f\x7f-\x9f"
WORDS = rf"^[^{_CONTROLS}]*[^{_CONTROLS}\s][^{_CONTROLS}]*$"


def words(text: str) -> str:
    """The query without surrounding spaces. Its error becomes an entry of a 422."""
    if not re.fullmatch(WORDS, text):
        raise PydanticCustomError("words", "1 or more characters, and no control characters")
    return text.strip()


class SearchQuery(BaseModel):
    q: Annotated[str, AfterValidator(words)] = Field(
        min_length=1,
        max_length=MAX_QUERY_LENGTH,
        description="The words to look for.",
        json_schema_extra={"pattern": WORDS},
    )
    limit: int = Field(default=10, ge=1, le=MAX_LIMIT, description="At most this many.")


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
    """The passages that match best, with document, page, text and the entities in them.

    Empty if nothing matches. With the embedded vector store a search may have to wait for a
    running ingestion, and is answered with 503 if it waits too long.
    """
    return SearchResultSchema(query=query.q, items=search(query.q, limit=query.limit))
