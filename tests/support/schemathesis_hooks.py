"""What schemathesis cannot generate or infer. `schemathesis.toml` names this file."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import strategies

from tests.support.documents import pdf

schemathesis.openapi.format("binary", strategies.just(pdf(1)))
schemathesis.openapi.format("json", strategies.sampled_from(["", "{}", '{"order": 7}']))


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """OpenAPI cannot express that parameters exclude each other."""
    if not query:
        return query
    excluded: set[str] = set()
    if "jobs" in query:
        excluded |= {"batch", "about", "owner"}
    is_by_time = query.get("sort", "newest") in {"newest", "oldest"}
    cursor = str(query.get("cursor", ""))
    # Of another order, with a name that is not UTF-8, or with an id as long as id and name.
    if not (is_by_time and cursor[:1].isdigit() and len(cursor) <= 16 + 1 + 255):
        excluded |= {"cursor"}
    return {name: value for name, value in query.items() if name not in excluded}
