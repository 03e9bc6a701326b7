"""The events of a progress stream, by name, and their JSON Schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic.json_schema import models_json_schema

from ingestion_progress.wire.batches import BatchProgressEventData
from ingestion_progress.wire.schemas import (
    CompleteEventData,
    ErrorEventData,
    ForecastEventData,
    IdleEventData,
    JobCompleteEventData,
    JobPipelineProgressEventData,
    JobStateEventData,
    KeepaliveEventData,
    NextAttemptEventData,
    PipelineProgressEventData,
    WireModel,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, kw_only=True)
class StreamEvent:
    name: str
    data: type[WireModel]
    meaning: str
    has_id: bool = False
    """Does its `id` let a client resume?"""


NEXT_ATTEMPT = StreamEvent(
    name="next_attempt",
    data=NextAttemptEventData,
    meaning="After `job_state` while the job is queued again, because its last attempt was lost, "
    "failed or handed back, or because a person retries it. No `error` is sent before.",
)
BATCH_PROGRESS = StreamEvent(
    name="batch_progress",
    data=BatchProgressEventData,
    meaning="Only with `?batch=…`, after the first states and when the progress of the batch has "
    "changed, at most every two seconds: counts, percentage and forecast of the whole batch. The "
    "last one may be missing before `idle`.",
)
FORECAST = StreamEvent(
    name="forecast",
    data=ForecastEventData,
    meaning="After `pipeline_progress` while the job is queued or runs: the remaining time with a "
    "range, or why it is unknown. `estimated_remaining_ms` is the likely value.",
)
KEEPALIVE = StreamEvent(
    name="keepalive",
    data=KeepaliveEventData,
    meaning="On a silent stream, every 15 s by default. A client that receives nothing for longer "
    "has lost its connection, whatever EventSource says.",
)
STREAM_EVENTS = (
    StreamEvent(
        name="pipeline_progress",
        data=PipelineProgressEventData,
        meaning="The whole state of the job: at once on connect, then on change, at most one per "
        "throttle interval. Its `id` is the point to resume from.",
        has_id=True,
    ),
    FORECAST,
    StreamEvent(
        name="job_state",
        data=JobStateEventData,
        meaning="After each `pipeline_progress`: status, liveness, attempt, errors. "
        "A client may ignore it.",
    ),
    NEXT_ATTEMPT,
    StreamEvent(
        name="complete",
        data=CompleteEventData,
        meaning="Once, after the last `pipeline_progress` of a job that succeeded. "
        "The server closes the stream.",
    ),
    StreamEvent(
        name="error",
        data=ErrorEventData,
        meaning="The job was not found, failed, was cancelled or lost; or the stream failed, its "
        "viewer may no longer watch (`forbidden`, `token_expired`), or there are "
        "`too_many_streams` and EventSource reconnects after a minute. "
        "The server closes the stream. A connection error of EventSource has no `data`.",
    ),
    KEEPALIVE,
)

MANY_JOBS_EVENTS = (
    StreamEvent(
        name="pipeline_progress",
        data=JobPipelineProgressEventData,
        meaning="The whole state of one of the jobs, with its `job_id`: of each at once on "
        "connect, then on change, at most one per job and throttle interval.",
        has_id=True,
    ),
    FORECAST,
    StreamEvent(
        name="job_state",
        data=JobStateEventData,
        meaning="After each `pipeline_progress`: status, liveness, attempt, errors.",
    ),
    NEXT_ATTEMPT,
    StreamEvent(
        name="complete",
        data=JobCompleteEventData,
        meaning="After the last `pipeline_progress` of a job that succeeded. "
        "The stream stays open.",
    ),
    StreamEvent(
        name="error",
        data=ErrorEventData,
        meaning="A job failed, was cancelled or lost, was not found or cannot be read, and the "
        "stream stays open. Or, with an empty `job_id`: the viewer may no longer watch "
        "(`forbidden`, `token_expired`) or there are `too_many_streams`, and the server closes it.",
    ),
    BATCH_PROGRESS,
    KEEPALIVE,
    StreamEvent(
        name="idle",
        data=IdleEventData,
        meaning="Only with `?until=idle`: none of the jobs is active. The server closes the "
        "stream.",
        has_id=True,
    ),
)
ALL_EVENTS = (*STREAM_EVENTS, *MANY_JOBS_EVENTS)


def wire_schemas(ref_template: str) -> dict[str, Any]:
    """The JSON Schemas of the events' data and all that they refer to, by model name."""
    models = dict.fromkeys(event.data for event in ALL_EVENTS)
    _, schema = models_json_schema(
        [(model, "serialization") for model in models], ref_template=ref_template
    )
    definitions: dict[str, Any] = schema["$defs"]
    return definitions


def events_json_schema() -> dict[str, Any]:
    """Describes one event as `{"type": name, "data": …}`, the form of `get_sse_event`."""
    return {
        "$schema": DIALECT,
        "title": "Events of a progress stream",
        "description": "On the stream `type` is the line `event:` and `data` the line `data:`. "
        "First the events of a stream of one job, then those of a stream of many jobs.",
        "oneOf": [
            {
                "type": "object",
                "description": event.meaning,
                "properties": {
                    "type": {"const": event.name},
                    "data": {"$ref": f"#/$defs/{event.data.__name__}"},
                },
                "required": ["type", "data"],
                "additionalProperties": False,
            }
            for event in {(each.name, each.data): each for each in ALL_EVENTS}.values()
        ],
        "$defs": wire_schemas("#/$defs/{model}"),
    }
