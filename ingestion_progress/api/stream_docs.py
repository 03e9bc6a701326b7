"""The progress streams as operations of the OpenAPI document.

They are plain Django views, which ninja does not know.
"""

from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from ninja.openapi.schema import REF_TEMPLATE

from ingestion_progress.api.errors import error_response_docs
from ingestion_progress.models.about import ABOUT_PATTERN
from ingestion_progress.wire.events import MANY_JOBS_EVENTS, STREAM_EVENTS, StreamEvent

TOKEN_SECURITY: list[dict[str, list[str]]] = [{"StreamToken": []}, {"StreamTokenInQuery": []}]

DESCRIPTIONS = Path(__file__).with_name("descriptions")
HEADERS = {
    "Cache-Control": "`no-cache`",
    "X-Accel-Buffering": "`no`: nginx does not buffer the stream.",
    "Access-Control-Allow-Origin": "`*` where the stream is public, else the configured origin.",
}
RESUME = "The `id` of the last event received. Unknown or malformed: the full state is sent."


@dataclass(frozen=True, kw_only=True)
class StreamOperation:
    path: str
    """The path below the API's root."""
    name: str
    """The name of its files in `descriptions/`."""
    operation_id: str
    item_name: str
    events: tuple[StreamEvent, ...]
    summary: str
    no_content: str
    parameters: tuple[dict[str, Any], ...]
    error_statuses: tuple[int, ...]

    def document(self, path: str) -> dict[str, Any]:
        """The operation in the OpenAPI document; `path` from the root of the site."""
        example = path.replace("{job_id}", "JOB_ID")
        curl = f"curl -N http://localhost:8000{example}"
        javascript = description(f"{self.name}.js", path=example).rstrip()
        rows = [f"| `{e.name}` | `{e.data.__name__}` | {e.meaning} |" for e in self.events]
        values = {"events": "\n".join(rows), "curl": curl, "javascript": javascript}
        return {
            "operationId": self.operation_id,
            "summary": self.summary,
            "description": description(f"{self.name}.md", **values),
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
        """One message of the stream, with the fields of EventSource's MessageEvent."""
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
                # OpenAPI 3.1 cannot describe the items of a stream; 3.2 has `itemSchema`.
                "content": {"text/event-stream": {"schema": item, "x-itemSchema": item}},
            },
            "204": {"description": self.no_content},
            **{str(status): error_response_docs(status) for status in self.error_statuses},
        }


def description(name: str, **values: str) -> str:
    """The text of a file in `descriptions/`, with the values in place of `$name`."""
    text = (DESCRIPTIONS / name).read_text(encoding="utf-8")
    return Template(text).substitute(values)


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
        properties["id"] = {"type": "string", "description": "The cursor to resume from."}
    return {
        "title": event.name,
        "description": event.meaning,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _parameter(
    name: str, description: str, *, place: str = "query", **schema: Any
) -> dict[str, Any]:
    return {
        "in": place,
        "name": name,
        "schema": {"type": "string"} | schema,
        "required": False,
        "description": description,
    }


COMMON_PARAMETERS = (
    _parameter("Last-Event-ID", f"{RESUME} EventSource sends it to reconnect.", place="header"),
    _parameter("last_event_id", f"{RESUME} For clients that cannot set headers."),
    _parameter(
        "token",
        "A stream token, where the stream is not public and there is no session. "
        "Prefer `Authorization: Bearer` where the client can set headers.",
    ),
)
STREAMS = (
    StreamOperation(
        path="/admin/ingestion/jobs/{job_id}/progress",
        name="one_job",
        operation_id="stream_progress",
        item_name="ProgressStreamItem",
        events=STREAM_EVENTS,
        summary="Watch one job live",
        no_content="The client has the final state: stop reconnecting.",
        parameters=(
            {"in": "path", "name": "job_id", "schema": {"type": "string"}, "required": True},
        ),
        error_statuses=(401, 403, 405, 501),
    ),
    StreamOperation(
        path="/admin/ingestion/progress",
        name="many_jobs",
        operation_id="stream_progress_of_many",
        item_name="ManyJobsStreamItem",
        events=MANY_JOBS_EVENTS,
        summary="Watch many jobs live",
        no_content="With `until=idle`: the client has the last event: stop reconnecting.",
        parameters=(
            _parameter(
                "jobs",
                "Comma-separated ids, at most 200 unless the server is configured otherwise. "
                "An id that contains a comma cannot be named. Default: all active jobs.",
                pattern="[^,]",
            ),
            _parameter(
                "batch",
                "Only the jobs of this batch, including those that start later. "
                "Not together with `jobs`.",
            ),
            _parameter(
                "about",
                "Only the jobs about this object, `app.model:id`. Not together with `jobs`.",
                pattern=f"^(?:{ABOUT_PATTERN})?$",
            ),
            _parameter(
                "owner",
                "Only the jobs of this user: a primary key, or `me`. Not together with `jobs`.",
            ),
            _parameter(
                "until",
                "`idle`: end with the last job. An empty value has no effect.",
                enum=["idle", ""],
            ),
        ),
        error_statuses=(400, 401, 403, 405, 501),
    ),
)
