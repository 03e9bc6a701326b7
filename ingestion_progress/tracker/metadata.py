"""The project's own data about a job, and its limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from ingestion_progress.exceptions import InvalidMetadata
from ingestion_progress.exceptions.sentences import Sentence

MAX_METADATA_BYTES = 4096
MAX_METADATA_DEPTH = 5

_OBJECT = TypeAdapter(dict[str, JsonValue])


def clean_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that can be stored as JSON. Raises InvalidMetadata, which says what is wrong."""
    if not _is_nested_at_most(metadata, MAX_METADATA_DEPTH):
        raise InvalidMetadata(
            Sentence("it is nested deeper than %(levels)s levels", levels=MAX_METADATA_DEPTH)
        )
    try:
        copied = _OBJECT.validate_python(dict(metadata), strict=True)
        text = json.dumps(copied, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except ValidationError as invalid:
        place = ".".join(str(part) for part in invalid.errors()[0]["loc"][:1])
        raise InvalidMetadata(Sentence("%(place)s is not JSON", place=repr(place))) from None
    except (TypeError, ValueError):
        raise InvalidMetadata(Sentence("it has a value that JSON cannot express")) from None
    if size > MAX_METADATA_BYTES:
        raise InvalidMetadata(
            Sentence(
                "it has %(size)s bytes of JSON; the limit is %(limit)s",
                size=size,
                limit=MAX_METADATA_BYTES,
            )
        )
    if "\\u0000" in text:
        raise InvalidMetadata(Sentence("it has a NUL character, which databases refuse"))
    return copied


def metadata_of(text: str) -> dict[str, Any] | None:
    """Metadata that somebody has typed as JSON; None for no text. Raises InvalidMetadata."""
    if not text.strip():
        return None
    if len(text) > 2 * MAX_METADATA_BYTES:
        raise InvalidMetadata(
            Sentence(
                "it has %(size)s characters; the limit is %(limit)s",
                size=len(text),
                limit=MAX_METADATA_BYTES,
            )
        )
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidMetadata(Sentence("it is not JSON")) from None
    if not isinstance(found, dict):
        raise InvalidMetadata(Sentence("it is not an object"))
    return clean_metadata(found)


def _is_nested_at_most(value: object, levels: int) -> bool:
    """An object without members has one level."""
    if isinstance(value, Mapping):
        inner = list(value.values())
    elif isinstance(value, list):
        inner = value
    else:
        return True
    return levels > 0 and all(_is_nested_at_most(each, levels - 1) for each in inner)
