"""The progress streams as operations of the OpenAPI document.

They are plain Django views: ninja knows nothing of them, and readers should not notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ninja.openapi.schema import REF_TEMPLATE

from ingestion_progress.api.errors import document_refusal
from ingestion_progress.api.stream_docs import MANY_JOBS, ONE_JOB, StreamTexts
from ingestion_progress.wire.events import MANY_JOBS_EVENTS, STREAM_EVENTS, StreamEvent

TOKEN_SECURITY: list[dict[str, list[str]]] = [{"StreamToken": []}, {"StreamTokenInQuery": []}]

HEADERS = {
    "Cache-Control": "`no-cache`",
    "X-Accel-Buffering": "`no`: nginx passes every event on at once.",
    "Access-Control-Allow-Origin": "`*` where the stream is public, else the configured origin.",
}
RESUME = "The `id` of the last event received. Unknown or malformed: the full state is sent."


@dataclass(frozen=True, kw_only=True)
class Stream:
    path: str
    """Below the API's root."""
    operation_id: str
    item_name: str
    events: tuple[StreamEvent, ...]
    texts: StreamTexts
    parameters: tuple[dict[str, Any], ...]
    refusals: tuple[int, ...]

    def operation(self, path: str) -> dict[str, Any]:
        example = path.replace("{job_id}", "JOB_ID")
        curl, javascript = self.texts.curl(example), self.texts.javascript(example)
        rows = [f"| `{e.name}` | `{e.data.__name__}` | {e.meaning} |" for e in self.events]
        return {
            "operationId": self.operation_id,
            "summary": self.texts.summary,
            "description": self.texts.description(rows, curl, javascript),
            "tags": ["Progress"],
            "parameters": [*self.parameters, *COMMON_PARAMETERS],
            "responses": self._responses(),
            "security": [{"MayView": []}, *TOKEN_SECURITY, {}],
            "x-codeSamples": [
                {"lang": "Shell", "label": "curl", "source": curl},
                {"lang": "JavaScript", "label": "EventSource", "source": javascript},
            ],
        }

    def item_schema(self) -> dict[str, Any]:
        """One message of the stream, field by field, as EventSource would hand it over."""
        return {
            "title": self.item_name,
            "description": "One message. `data` is one line of JSON.",
            "oneOf": [_message(event) for event in self.events],
        }

    def _responses(self) -> dict[str, Any]:
        item = {"$ref": REF_TEMPLATE.format(model=self.item_name)}
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
            "204": {"description": self.texts.no_content},
            **{str(status): document_refusal(status) for status in self.refusals},
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
    if event.has_id:
        properties["id"] = {"type": "string", "description": "The point to resume from."}
    return {
        "title": event.name,
        "description": event.meaning,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _parameter(place: str, name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "in": place,
        "name": name,
        "schema": {"type": "string"} | schema,
        "required": False,
        "description": description,
    }


COMMON_PARAMETERS = (
    _parameter("header", "Last-Event-ID", f"{RESUME} EventSource sends it by itself."),
    _parameter("query", "last_event_id", f"{RESUME} For clients that cannot set headers."),
    _parameter(
        "query",
        "token",
        "A stream token, where the stream is not public and there is no "
        "session. `Authorization: Bearer` is better where a header can be set.",
    ),
)
STREAMS = (
    Stream(
        path="/admin/ingestion/jobs/{job_id}/progress",
        operation_id="stream_progress",
        item_name="ProgressStreamItem",
        events=STREAM_EVENTS,
        texts=ONE_JOB,
        parameters=(
            {"in": "path", "name": "job_id", "schema": {"type": "string"}, "required": True},
        ),
        refusals=(401, 403, 405, 501),
    ),
    Stream(
        path="/admin/ingestion/progress",
        operation_id="stream_progress_of_many",
        item_name="ManyJobsStreamItem",
        events=MANY_JOBS_EVENTS,
        texts=MANY_JOBS,
        parameters=(
            _parameter(
                "query",
                "jobs",
                "Ids with commas between them, at most 200 unless the server is set otherwise. "
                "An id with a comma in it cannot be named. Without it: all active jobs.",
                pattern="[^,]",
            ),
            _parameter(
                "query",
                "batch",
                "Only the jobs that were started under this name, those that begin later included. "
                "Not together with `jobs`.",
            ),
            _parameter(
                "query",
                "until",
                "`idle`: end with the last job. Empty is as good as left out.",
                enum=["idle", ""],
            ),
        ),
        refusals=(400, 401, 403, 405, 501),
    ),
)
