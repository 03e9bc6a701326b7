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
    if query.get("sort") in {"longest", "shortest", "name"}:
        excluded |= {"cursor"}
    return {name: value for name, value in query.items() if name not in excluded}
