"""The frame that all candidates send: one of this project, with the time of its creation."""

from __future__ import annotations

import json
import time

from ingestion_progress.wire.frames import encode_event
from ingestion_progress.wire.schemas import (
    DEFAULT_WEIGHTS,
    JobStateEventData,
    MetricsSchema,
    PipelineProgressEventData,
    StageProgressSchema,
    TimingSchema,
    WorkerInfoSchema,
    WorkerPoolSchema,
)

JOB_ID = "bench-job"
STARTED_AT = 1_700_000_000.0
ELAPSED_MS = 111_222_333_444
# As many digits as the number that replaces it.
PLACE = b'"elapsed_ms":%d' % ELAPSED_MS


def elapsed_ms() -> int:
    return int((time.time() - STARTED_AT) * 1000)


def progress() -> PipelineProgressEventData:
    """A running job, like the one that benchmarks/writer.py writes."""
    return PipelineProgressEventData(
        document_id=JOB_ID,
        document_name="annual-report.pdf",
        total_chunks=320,
        total_images=12,
        stages={name: _stage(name) for name in DEFAULT_WEIGHTS},
        worker_pool=WorkerPoolSchema(active=1, max=1, queue_depth=17, workers=[_worker(1)]),
        metrics=MetricsSchema(
            entities_total=1204, relations_total=811, neo4j_writes=2015, qdrant_writes=320
        ),
        timing=TimingSchema(
            started_at=STARTED_AT, elapsed_ms=ELAPSED_MS, estimated_remaining_ms=61_000
        ),
        overall_progress_percent=63.4,
    )


def state() -> JobStateEventData:
    return JobStateEventData(
        job_id=JOB_ID,
        status="running",
        liveness="working",
        attempt=1,
        cancel_requested=False,
        skipped_stages=[],
        error_count=0,
        error=None,
        counters={},
    )


def _stage(name: str) -> StageProgressSchema:
    return StageProgressSchema(
        name=name,
        status="in_progress",
        processed=203,
        total=320,
        in_flight=4,
        progress_percent=63.4,
        duration_ms=48_210,
        is_complete=False,
    )


def _worker(number: int) -> WorkerInfoSchema:
    return WorkerInfoSchema(
        id=number, status="processing", current_chunk=f"chunk-{number:04d}", progress_percent=50.0
    )


_TEMPLATE = encode_event("pipeline_progress", progress(), "0123456789abcdef-1024")
_TEMPLATE += encode_event("job_state", state())


def frame() -> bytes:
    """Both messages of a frame, with the current time."""
    return _TEMPLATE.replace(PLACE, b'"elapsed_ms":%12d' % elapsed_ms())


def event() -> dict[str, object]:
    """What `get_sse_event` of the specification returns; the sender encodes it."""
    data = progress().model_dump() | {"state": state().model_dump()}
    data["timing"]["elapsed_ms"] = elapsed_ms()
    return {"type": "pipeline_progress", "data": data}


# Peers whose interface accepts one message at a time send one that is as long as the two messages
# of this project, so that they do not have the cost of a second one.
_DATA = json.dumps(event()["data"], separators=(",", ":"))
_AT = _DATA.index('"elapsed_ms":') + len('"elapsed_ms":')
_HEAD, _TAIL = _DATA[:_AT], _DATA[_DATA.index(",", _AT) :]


def data() -> str:
    """The JSON of one message that has the size of a frame, with the current time."""
    return f"{_HEAD}{elapsed_ms()}{_TAIL}"
