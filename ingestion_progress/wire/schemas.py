"""The wire models: exactly what is sent, in the order it is sent.

JSON Schema, OpenAPI and the TypeScript declaration are generated from them
(`manage.py export_schema`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# The five stages of document ingestion, weighted roughly by the time they take.
DEFAULT_WEIGHTS = {
    "parsing": 10.0,
    "vlm": 15.0,
    "chunking": 5.0,
    "embedding": 25.0,
    "extraction": 45.0,
}


class WireModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageProgressSchema(WireModel):
    """One planned stage of a job."""

    name: str
    status: Literal["pending", "in_progress", "completed", "error"]
    processed: int = Field(ge=0, description="Items done.")
    total: int = Field(ge=0, description="Items to do; 0 while unknown.")
    in_flight: int = Field(ge=0, description="Items being worked on now.")
    progress_percent: float = Field(ge=0, le=100, description="100 once completed; one decimal.")
    duration_ms: int = Field(
        ge=0, description="Running time so far, or in all once ended; 0 before the start."
    )
    is_complete: bool = Field(description="Completed, with all of its total processed.")


class WorkerInfoSchema(WireModel):
    """One slot of the job's worker pool."""

    id: int
    status: Literal["idle", "processing", "error"]
    current_chunk: str | None = Field(description="What it works on; null when idle.")
    progress_percent: float = Field(ge=0, le=100)


class WorkerPoolSchema(WireModel):
    active: int = Field(ge=0, description="Workers in `processing`.")
    max: int = Field(ge=0, description="Size of the pool.")
    queue_depth: int = Field(ge=0, description="Items that wait for a worker.")
    workers: list[WorkerInfoSchema]


class MetricsSchema(WireModel):
    entities_total: int = Field(ge=0)
    relations_total: int = Field(ge=0)
    neo4j_writes: int = Field(ge=0, description="Nodes and relationships written to the graph.")
    qdrant_writes: int = Field(ge=0, description="Points written to the vector store.")


class TimingSchema(WireModel):
    started_at: float = Field(description="Unix seconds; 0 before the start.")
    elapsed_ms: int = Field(ge=0, description="Stops when the job ends.")
    estimated_remaining_ms: int = Field(
        ge=0, description="0 when unknown or done, and while the job does not move."
    )


class PipelineProgressEventData(WireModel):
    """The whole state of a job: the data of every `pipeline_progress` event."""

    document_id: str
    document_name: str
    total_chunks: int = Field(ge=0)
    total_images: int = Field(ge=0)
    stages: dict[str, StageProgressSchema] = Field(
        description="The planned stages by name, in their declared order."
    )
    worker_pool: WorkerPoolSchema
    metrics: MetricsSchema
    timing: TimingSchema
    overall_progress_percent: float = Field(
        ge=0, le=100, description="Never falls during a run; 100 only when the job succeeded."
    )


class PipelineProgressEvent(WireModel):
    type: Literal["pipeline_progress"] = "pipeline_progress"
    data: PipelineProgressEventData


class CompleteEventData(WireModel):
    """`{}`: the job succeeded, and the stream ends here."""


class JobPipelineProgressEventData(PipelineProgressEventData):
    """The data of `pipeline_progress` on a stream of many jobs."""

    job_id: str


class JobCompleteEventData(WireModel):
    """One of many jobs succeeded; the stream stays open."""

    job_id: str


class IdleEventData(WireModel):
    """`{}`: none of the jobs is active, and the stream ends here, as `?until=idle` requests."""


class KeepaliveEventData(WireModel):
    """`{}`: nothing has changed, and the connection is alive."""


class ErrorEventData(WireModel):
    """Why a job or a stream ends without `complete`."""

    message: str
    job_id: str = Field(description="Empty if the error concerns a whole stream of many jobs.")
    code: Literal[
        "not_found",
        "failed",
        "cancelled",
        "lost",
        "stream_error",
        "forbidden",
        "token_expired",
        "too_many_streams",
    ]


class JobStateEventData(WireModel):
    """What `pipeline_progress` has no field for. Sent after it."""

    job_id: str
    status: Literal["queued", "running", "succeeded", "failed", "cancelled", "lost"]
    liveness: Literal["queued", "starved", "working", "stalled", "silent", "lost"] | None = Field(
        description="null once the job has ended."
    )
    attempt: int = Field(ge=1)
    cancel_requested: bool
    skipped_stages: list[str] = Field(description="Stages that no longer count.")
    error_count: int = Field(ge=0, description="Errors recorded so far; they need not end a job.")
    error: str | None = Field(description="Why the job ended without success.")
    counters: dict[str, int] = Field(description="The pipeline's own counters.")
    failed_items: int = Field(
        default=0,
        ge=0,
        exclude_if=lambda failed_items: not failed_items,
        description="Items that failed in this attempt; left out if none did.",
    )
    failed_by_stage: dict[str, int] = Field(
        default_factory=dict,
        exclude_if=lambda failed: not failed,
        description="The failed items of each stage that has some; left out if none has.",
    )
    estimated_stages: list[str] = Field(
        default_factory=list,
        exclude_if=lambda stages: not stages,
        description="Stages in progress whose total is an estimate; left out if there are none.",
    )
    stopped_stages: list[str] = Field(
        default_factory=list,
        exclude_if=lambda stages: not stages,
        description="Stages with the status error that ended with the job or its attempt, and not "
        "by an error of their own. Left out if there are none.",
    )
    event_count: int = Field(
        default=0,
        ge=0,
        exclude_if=lambda count: not count,
        description="Lines that were logged, in all attempts; left out if there are none.",
    )
    heartbeat_at: float | None = Field(
        default=None,
        exclude_if=lambda at: at is None,
        description="Unix seconds of the last sign of life; only if it is silent or lost.",
    )
    result: Literal["partial"] | None = Field(
        default=None,
        exclude_if=lambda result: result is None,
        description="partial if the job succeeded with failed items. Left out for any other job, "
        "whose result is its status.",
    )
    units: dict[str, str] = Field(
        default_factory=dict,
        exclude_if=lambda units: not units,
        description="What each stage counts, in plural, such as `pages`. Left out if none says so.",
    )
    waiting_for: str = Field(
        default="",
        exclude_if=lambda service: not service,
        description="The service that the job waits for, such as `the model at "
        "api.example.org`; left out while it waits for none.",
    )


class ForecastEventData(WireModel):
    """When the job will end. Sent after `pipeline_progress` while the job is active."""

    job_id: str
    likely_ms: int = Field(ge=0, description="The remaining time; 0 while it is unknown.")
    low_ms: int = Field(ge=0, description="Start of the likely range; 0 while it is unknown.")
    high_ms: int = Field(ge=0, description="End of that range, meant to hold 80 of 100 jobs.")
    former_jobs: int = Field(
        ge=0, description="Earlier jobs with the same stages whose times it uses."
    )
    reason: (
        Literal["queued", "starting", "no_history", "stalled", "lost", "overdue", "waiting"] | None
    ) = Field(
        description="Why it is unknown or, with `no_history`, only the mean speed so far; null "
        "for a forecast by the times of earlier jobs."
    )


class NextAttemptEventData(WireModel):
    """Another attempt of the job is due. Sent after `job_state` while the job waits for it."""

    job_id: str
    attempt: int = Field(ge=2, description="The number of the attempt that is due.")
    max_attempts: int = Field(ge=1, description="The last attempt, if it and all before it fail.")
    due_at: float | None = Field(
        description="Unix seconds from which its task is queued; null once the queue has it."
    )
    reason: str = Field(description="How the last attempt ended; empty after a person's retry.")
