"""The OpenAPI document: what ninja knows of the operations, and the stream beside them."""

from __future__ import annotations

import json
from typing import Any

from ninja.openapi.schema import REF_TEMPLATE, OpenAPISchema

from ingestion_progress.api.errors import document_refusal
from ingestion_progress.api.jobs import JOB
from ingestion_progress.api.stream_operation import STREAMS, TOKEN_SECURITY
from ingestion_progress.auth.tokens import PARAMETER
from ingestion_progress.wire.events import wire_schemas

DESCRIPTION = """\
Ingest documents, and watch each job live.

**Access.** Where the site is public (the default while `DEBUG` is on) no login is needed.
Otherwise a Django session with the permission is, and the CSRF token in `X-CSRFToken` for
everything but reading. Requests without a login that a browser sends from another origin are
refused unless the origin is in `CSRF_TRUSTED_ORIGINS`. For reading, a stream token does as well,
in `Authorization: Bearer` or, for an EventSource, in `?token=`.

**Errors** have one shape, `{"code": …, "message": …}`: the code is for programs, the message
for people. Addresses in `links` start at the root of the site.
"""

# What http.client says about a status differs between versions of Python.
SUCCESSES = {
    200: "As asked.",
    201: "The job is queued; `Location` is its address.",
    202: "It was asked to stop; a job that had not started is cancelled.",
    204: "Done; nothing to say.",
    304: "Nothing has moved since the `ETag` that was sent.",
}

TOKEN_SCHEMES = {
    "StreamToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A stream token for the job, or for all jobs. It lives for some minutes.",
    },
    "StreamTokenInQuery": {
        "type": "apiKey",
        "in": "query",
        "name": PARAMETER,
        "description": "The same in the URL, for an EventSource, which cannot set headers.",
    },
}

TAGS = [
    {"name": "Progress", "description": "How far a job is, as a stream or as plain JSON."},
    {"name": "Jobs", "description": "One ingestion run of one document each."},
    {"name": "Search", "description": "What the ingested documents say."},
]


def complete(document: OpenAPISchema) -> OpenAPISchema:
    """Adds the stream, the wire models, and the words for every response; sorts nothing."""
    for operations in document["paths"].values():
        for operation in operations.values():
            _describe_responses(operation)
            # The login is not needed where the site is public.
            logins = operation.get("security", [])
            tokens = TOKEN_SECURITY if {"MayView": []} in logins else []
            operation["security"] = [*logins, *tokens, {}]
    document["components"]["securitySchemes"].update(TOKEN_SCHEMES)
    document["paths"] = _with_stream(document)
    schemas = document["components"]["schemas"]
    schemas.update(wire_schemas(REF_TEMPLATE))
    schemas.update({stream.item_name: stream.item_schema() for stream in STREAMS})
    document["components"]["schemas"] = _referenced(document)
    operations = (op for path in document["paths"].values() for op in path.values())
    used = {tag for operation in operations for tag in operation.get("tags", ())}
    document["tags"] = [tag for tag in TAGS if tag["name"] in used]
    document.pop("servers", None)
    return document


def _with_stream(document: OpenAPISchema) -> dict[str, Any]:
    """The paths with the streams in front: they are what people come for."""
    snapshot = next(path for path in document["paths"] if path.endswith(JOB + "/snapshot"))
    root = str(snapshot).removesuffix(JOB + "/snapshot")
    addresses = [(root + stream.path, stream) for stream in STREAMS]
    streams = {address: {"get": stream.operation(address)} for address, stream in addresses}
    return {**streams, **document["paths"]}


def _referenced(document: OpenAPISchema) -> dict[str, Any]:
    """The schemas that something refers to; ninja leaves those of query parameters behind."""
    text = json.dumps(document)
    return {
        name: schema
        for name, schema in document["components"]["schemas"].items()
        if f'"{REF_TEMPLATE.format(model=name)}"' in text
    }


def _describe_responses(operation: dict[str, Any]) -> None:
    operation["responses"] = {
        str(status): response | {"description": SUCCESSES[status]}
        if status in SUCCESSES
        else document_refusal(status)
        for status, response in sorted(operation["responses"].items())
    }
