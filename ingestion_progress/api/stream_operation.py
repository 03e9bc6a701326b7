"""The progress stream as an operation of the OpenAPI document.

The stream is a plain Django view: ninja knows nothing of it, and readers should not notice.
"""

from __future__ import annotations

from typing import Any

from ninja.openapi.schema import REF_TEMPLATE

from ingestion_progress.api.errors import document_refusal
from ingestion_progress.api.wire import STREAM_EVENTS, StreamEvent

ITEM_NAME = "ProgressStreamItem"

DESCRIPTION = """\
Server-Sent Events until the job ends. Every event stands for itself: `pipeline_progress` carries
the whole state, never a change to it, so nothing can be missed.

| event | data | meaning |
|---|---|---|
{events}

A comment line, `: keepalive`, comes on a silent stream (every 15 s by default).

**The end.** `complete` or `error`, then the server closes the stream. The end depends on the
job's status, not on a percentage. An unknown job is an `error` event with the code `not_found`,
not a 404: a browser shows a page the events of a stream, but not the status of a response.

**Resuming.** EventSource reconnects by itself and sends `Last-Event-ID`: the state comes only if
it moved on, and a client that has seen the final state gets 204, which ends the reconnecting.

**curl**

```sh
{curl}
```

**EventSource**

```js
{javascript}
```
"""

CURL = "curl -N http://localhost:8000{path}"

JAVASCRIPT = """\
const source = new EventSource("{path}");
source.addEventListener("pipeline_progress", (event) => {{
  const progress = JSON.parse(event.data);
  console.log(progress.overall_progress_percent, progress.stages);
}});
source.addEventListener("complete", () => source.close());
source.addEventListener("error", (event) => {{
  if (event.data) {{ // the server's word; without data it is the network, and EventSource retries
    console.error(JSON.parse(event.data).message);
    source.close();
  }}
}});"""

TOKEN_SECURITY: list[dict[str, list[str]]] = [{"StreamToken": []}, {"StreamTokenInQuery": []}]

HEADERS = {
    "Cache-Control": "`no-cache`",
    "X-Accel-Buffering": "`no`: nginx passes every event on at once.",
    "Access-Control-Allow-Origin": "`*` where the stream is public, else the configured origin.",
}


def stream_operation(path: str) -> dict[str, Any]:
    example = path.replace("{job_id}", "JOB_ID")
    curl = CURL.format(path=example)
    javascript = JAVASCRIPT.format(path=example)
    rows = [f"| `{e.name}` | `{e.data.__name__}` | {e.meaning} |" for e in STREAM_EVENTS]
    return {
        "operationId": "stream_progress",
        "summary": "Watch one job live",
        "description": DESCRIPTION.format(events="\n".join(rows), curl=curl, javascript=javascript),
        "tags": ["Progress"],
        "parameters": _parameters(),
        "responses": _responses(),
        "security": [{"MayView": []}, *TOKEN_SECURITY, {}],
        "x-codeSamples": [
            {"lang": "Shell", "label": "curl", "source": curl},
            {"lang": "JavaScript", "label": "EventSource", "source": javascript},
        ],
    }


def item_schema() -> dict[str, Any]:
    """One message of the stream, field by field, as EventSource would hand it over."""
    return {
        "title": ITEM_NAME,
        "description": "One message. `data` is one line of JSON.",
        "oneOf": [_message(event) for event in STREAM_EVENTS],
    }


def _message(event: StreamEvent) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "event": {"const": event.name},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": REF_TEMPLATE.format(model=event.data.__name__)},
        },
    }
    if event.name == "pipeline_progress":
        properties["id"] = {"type": "string", "description": "The point to resume from."}
    return {
        "title": event.name,
        "description": event.meaning,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _parameters() -> list[dict[str, Any]]:
    resume = "The `id` of the last event received. Unknown or malformed: the full state is sent."
    return [
        {
            "in": "path",
            "name": "job_id",
            "schema": {"type": "string"},
            "required": True,
        },
        {
            "in": "header",
            "name": "Last-Event-ID",
            "schema": {"type": "string"},
            "required": False,
            "description": f"{resume} EventSource sends it by itself.",
        },
        {
            "in": "query",
            "name": "last_event_id",
            "schema": {"type": "string"},
            "required": False,
            "description": f"{resume} For clients that cannot set headers.",
        },
        {
            "in": "query",
            "name": "token",
            "schema": {"type": "string"},
            "required": False,
            "description": "A stream token, where the stream is not public and there is no "
            "session. `Authorization: Bearer` is better where a header can be set.",
        },
    ]


def _responses() -> dict[str, Any]:
    item = {"$ref": REF_TEMPLATE.format(model=ITEM_NAME)}
    return {
        "200": {
            "description": "The stream. Each message fits the schema.",
            "headers": {
                name: {"description": meaning, "schema": {"type": "string"}}
                for name, meaning in HEADERS.items()
            },
            # OpenAPI 3.1 has no word for the items of a stream; 3.2 says `itemSchema`.
            "content": {"text/event-stream": {"schema": item, "x-itemSchema": item}},
        },
        "204": {"description": "The client has seen the final state: stop reconnecting."},
        **{str(status): document_refusal(status) for status in (401, 403, 405, 501)},
    }
