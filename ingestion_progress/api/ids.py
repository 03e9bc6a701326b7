"""What the OpenAPI document says about ids that are sent: what `clean_job_id` checks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from ingestion_progress.exceptions import InvalidJobId
from ingestion_progress.models import clean_job_id

# Says all but one thing: what is printable beyond ASCII is a matter of Unicode's categories, for
# which the regular expressions of JSON Schema and of Python have no common word.
_ENDS = r"[^\x00-\x20\x7f-\xa0/\\]"
_WITHIN = r"[^\x00-\x1f\x7f-\xa0/\\]"
_ID = rf"(?!\.\.?$){_ENDS}(?:{_WITHIN}*{_ENDS})?"


def possible_id(text: str) -> str:
    """The id itself. Raises what becomes an entry of a 422."""
    try:
        return clean_job_id(text)
    except InvalidJobId as impossible:
        raise PydanticCustomError(
            "id", "1 to 255 printable characters, none of them a slash"
        ) from impossible


def id_or_nothing(text: str | None) -> str | None:
    """The id; None for an empty one. Raises what becomes an entry of a 422."""
    return possible_id(text) if text else None


def _described(pattern: str) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "pattern": f"^{pattern}$", "maxLength": 255}
    return WithJsonSchema(schema)


Id = Annotated[str, AfterValidator(possible_id), _described(_ID)]
# What may be left empty. The first is checked by whoever takes it, with an error of its own.
FormId = Annotated[str | None, _described(f"(?:{_ID})?")]
OptionalId = Annotated[FormId, AfterValidator(id_or_nothing)]
