"""One page of a list that may have any length: what operations take and return."""

from typing import Annotated, Any, Generic, TypeVar

from django.db.models import QuerySet
from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from ingestion_progress.api.schemas import ID_PATTERN, PageQuery
from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.models.pagination import (
    INVALID_CURSOR,
    MAX_COUNTED,
    NEWEST,
    ListCursor,
    ListPage,
    Ordering,
    Row,
    RowCount,
)

MAX_OFFSET = MAX_COUNTED
TOO_FAR = f"At most {MAX_OFFSET:,}: send next_cursor of the last page as cursor to go on."

Item = TypeVar("Item", bound=BaseModel)


def valid_offset(offset: int) -> int:
    if offset > MAX_OFFSET:
        raise PydanticCustomError("offset", TOO_FAR)
    return offset


def valid_cursor(text: str) -> str:
    """The text itself; an invalid one becomes an entry of a 422."""
    try:
        return text and str(ListCursor.parse(text))
    except ValueError as invalid:
        raise PydanticCustomError("cursor", INVALID_CURSOR) from invalid


Offset = Annotated[
    int,
    Field(ge=0),
    AfterValidator(valid_offset),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_OFFSET}),
]
CURSOR = (
    "Only what comes after this place in the list: `next_cursor` of an earlier answer. Costs the "
    "same however far it is."
)


def cursor_schema(prefix: str = "", *, max_length: int = 0) -> WithJsonSchema:
    """`prefix`: a pattern of what is before the time of creation, with its length."""
    pattern = f"^(?:{prefix}[0-9]{{16}}-{ID_PATTERN})?$"
    length = max_length + 16 + 1 + MAX_NAME_LENGTH
    return WithJsonSchema({"type": "string", "pattern": pattern, "maxLength": length})


CursorText = Annotated[str, AfterValidator(valid_cursor), cursor_schema()]


class ListQuery(PageQuery):
    offset: Offset = Field(
        default=0,
        description=f"Skip this many first, at most {MAX_OFFSET:,}. `cursor` leads further.",
    )
    cursor: CursorText = Field(default="", description=CURSOR)


class ListSchema(BaseModel, Generic[Item]):
    items: list[Item]
    total: int = Field(
        ge=0,
        le=MAX_COUNTED,
        description=f"Number of matches on all pages, counted up to {MAX_COUNTED:,}.",
    )
    is_total_exact: bool = Field(description="false: there are more than `total`.")
    next_cursor: str | None = Field(
        description="Send it as `cursor` to get the next page; null on the last one."
    )
    limit: int
    offset: int


def read_page(
    query: ListQuery, *parts: QuerySet[Row], order: Ordering = NEWEST
) -> tuple[ListPage[Row], dict[str, Any]]:
    """The rows, and all fields of a ListSchema except for `items`.

    A row is in one of the parts. One query for the rows, and one for each part to count them.
    """
    place = {"limit": query.limit, "offset": query.offset}
    page = ListPage.read(*parts, **place, cursor=query.cursor, order=order)
    count = RowCount.of(*parts)
    return page, {
        "total": count.number,
        "is_total_exact": count.is_exact,
        "next_cursor": page.next_cursor or None,
        **place,
    }
