"""The OpenAPI document: ninja's description of the operations, completed with the streams."""

import json
from typing import Any

from ninja.openapi.schema import REF_TEMPLATE, OpenAPISchema

from ingestion_progress.api.errors import error_response_docs
from ingestion_progress.api.jobs import JOB
from ingestion_progress.api.stream_docs import STREAMS, TOKEN_SECURITY
from ingestion_progress.auth.permissions import URL_PARAMETER
from ingestion_progress.wire.events import wire_schemas

# The reason phrases of http.client differ between versions of Python.
SUCCESSES = {
    200: "Success.",
    201: "The job is queued; `Location` is its URL.",
    202: "The request is stored. The job as it is now.",
    204: "Success, without content.",
    304: "No change since the `ETag` in the request.",
}

TOKEN_SCHEMES = {
    "StreamToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A short-lived stream token for the job, or for all jobs.",
    },
    "StreamTokenInQuery": {
        "type": "apiKey",
        "in": "query",
        "name": URL_PARAMETER,
        "description": "The same in the URL, for an EventSource, which cannot set headers.",
    },
}

TAGS = [
    {"name": "Progress", "description": "The progress of jobs, as a stream or as plain JSON."},
    {"name": "Jobs", "description": "One ingestion run of one document each."},
    {"name": "Batches", "description": "Jobs that belong together."},
    {"name": "Documents", "description": "What is stored of uploads, and its deletion."},
    {"name": "Search", "description": "Search in the ingested documents."},
]


def complete(document: OpenAPISchema) -> OpenAPISchema:
    """Adds the streams, the models of their events, and a description of every response."""
    for operations in document["paths"].values():
        for operation in operations.values():
            _describe_responses(operation)
            # {}: a public site needs no login.
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
    """The paths, with the streams first."""
    snapshot = next(path for path in document["paths"] if path.endswith(JOB + "/snapshot"))
    root = str(snapshot).removesuffix(JOB + "/snapshot")
    streams = {root + each.path: {"get": each.document(root + each.path)} for each in STREAMS}
    return {**streams, **document["paths"]}


def _referenced(document: OpenAPISchema) -> dict[str, Any]:
    """The schemas in use; ninja also lists those of query parameters, which it inlines."""
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
        else error_response_docs(status)
        for status, response in sorted(operation["responses"].items())
    }
