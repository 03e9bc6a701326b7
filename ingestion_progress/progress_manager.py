"""The tracker under other names, for code that drives stages by name.

    manager = get_progress_manager()
    manager.start_document(document_id="doc-1", document_name="test.pdf", total_chunks=32)
    await manager.update_stage("doc-1", "parsing", processed=1, total=1,
                               status=StageStatus.COMPLETED)

`document_id` is the job's id in the URL. Every call works from any process, also for documents that
another process has started. Each coroutine has a version for sync code, `…_sync`. Calls that wait
for the database raise ProgressUnavailable if it does not answer in time.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from ingestion_progress.exceptions import InvalidTransition, JobNotFound, JobSuperseded
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import JobStatus, StageStatus, WorkerStatus
from ingestion_progress.tracker import JobTracker, Stages, delete_job, track
from ingestion_progress.tracker.registry import STARTED_AGAIN, TrackerRegistry, call_writer
from ingestion_progress.tracker.sql import WriteResult
from ingestion_progress.wire.schemas import (
    PipelineProgressEvent,
    PipelineProgressEventData,
    WorkerInfoSchema,
)
from ingestion_progress.wire.snapshots import Snapshot, load_snapshot

__all__ = ["PipelineProgressManager", "StageStatus", "get_progress_manager"]


class Done:
    """The result of a finished call, which may be awaited or not."""

    def __await__(self) -> Iterator[None]:
        return iter(())


class PipelineProgressManager:
    """Thread-safe. Holds the trackers of the documents that this process drives."""

    def __init__(self) -> None:
        self._trackers = TrackerRegistry()

    # Plain methods, for sync and async code

    def start_document(
        self,
        document_id: str,
        document_name: str,
        total_chunks: int = 0,
        total_images: int = 0,
        *,
        stages: Stages | None = None,
        workers: int = 0,
    ) -> PipelineProgressEventData:
        """Starts a job; a job with that id begins a new attempt. Raises InvalidJobId."""
        tracker = track(
            document_name,
            job_id=document_id,
            document_id=document_id,
            stages=stages,
            workers=workers,
            total_chunks=total_chunks,
            total_images=total_images,
            restart=True,
        )
        tracker.start()
        self._trackers.keep(tracker)
        return self._snapshot(document_id).progress(database_now())

    def get_progress(self, document_id: str) -> PipelineProgressEventData | None:
        """The state, with all changes of this process; None for an unknown document."""
        try:
            return self._snapshot(document_id).progress(database_now())
        except JobNotFound:
            return None

    def get_sse_event(self, document_id: str) -> dict[str, Any] | None:
        """`{"type": "pipeline_progress", "data": {...}}`, or None for an unknown document."""
        progress = self.get_progress(document_id)
        return None if progress is None else PipelineProgressEvent(data=progress).model_dump()

    def remove_document(self, document_id: str) -> None:
        """Deletes the job with all its rows, running or not. Raises JobNotFound."""
        self._trackers.remove(document_id)
        delete = functools.partial(delete_job, document_id, even_if_running=True)
        call_writer(document_id, "removal", delete)

    def complete_document(self, document_id: str) -> Done:
        """Ends the job as succeeded. Does nothing if it has succeeded already."""
        try:
            self._change(document_id, JobTracker.complete)
        except InvalidTransition:
            if self._snapshot(document_id).job.job_status is not JobStatus.SUCCEEDED:
                raise
        return Done()

    def fail_document(self, document_id: str, error: str = "") -> Done:
        """Ends the job as failed. Raises InvalidTransition if it has ended."""
        self._change(document_id, lambda tracker: tracker.fail(error))
        return Done()

    # Coroutines, and their versions for sync code

    async def update_stage(  # noqa: PLR0917  (the specification's order)
        self,
        document_id: str,
        stage_name: str,
        processed: int | None = None,
        total: int | None = None,
        in_flight: int | None = None,
        status: StageStatus | str | None = None,
    ) -> None:
        """Replaces the given values. Completing the last planned stage completes the job.

        Raises JobNotFound, UnknownStage (which lists the declared ones) or InvalidCount.
        """

        async def change(tracker: JobTracker) -> None:
            has_ended = _change_stage(tracker, stage_name, (processed, total, in_flight), status)
            if has_ended and _is_all_completed(await tracker.aflush()):
                await tracker.acomplete()

        try:
            await change(self._trackers.get(document_id))
        except STARTED_AGAIN:
            await change(self._trackers.join(document_id))

    def update_stage_sync(  # noqa: PLR0917
        self,
        document_id: str,
        stage_name: str,
        processed: int | None = None,
        total: int | None = None,
        in_flight: int | None = None,
        status: StageStatus | str | None = None,
    ) -> None:
        """`update_stage` for sync code."""

        def change(tracker: JobTracker) -> None:
            has_ended = _change_stage(tracker, stage_name, (processed, total, in_flight), status)
            if has_ended and _is_all_completed(tracker.flush()):
                tracker.complete()

        self._change(document_id, change)

    async def update_workers(
        self,
        document_id: str,
        workers: Iterable[WorkerInfoSchema | Mapping[str, Any]] = (),
        *,
        max_workers: int | None = None,
        queue_depth: int | None = None,
    ) -> None:
        """Replaces the given slots: objects like those in `worker_pool.workers`.

        Active workers are counted by their status. Raises JobNotFound or InvalidCount.
        """
        self.update_workers_sync(
            document_id, workers, max_workers=max_workers, queue_depth=queue_depth
        )

    def update_workers_sync(
        self,
        document_id: str,
        workers: Iterable[WorkerInfoSchema | Mapping[str, Any]] = (),
        *,
        max_workers: int | None = None,
        queue_depth: int | None = None,
    ) -> None:
        """`update_workers` for sync code."""
        tracker = self._trackers.get(document_id)
        for worker in workers:
            info = {"current_chunk": None, "progress_percent": 0.0} | dict(worker)
            slot = tracker.worker(info["id"], chunk=info["current_chunk"] or "")
            slot.change(WorkerStatus(info["status"]), info["progress_percent"])
        if max_workers is not None:
            tracker.set_pool_size(max_workers)
        if queue_depth is not None:
            tracker.set_queue_depth(queue_depth)

    async def update_metrics(self, document_id: str, **metrics: int) -> None:
        """Replaces the given metrics; other names are the pipeline's own counters."""
        self.update_metrics_sync(document_id, **metrics)

    def update_metrics_sync(self, document_id: str, **metrics: int) -> None:
        """`update_metrics` for sync code."""
        self._trackers.get(document_id).set_metrics(**metrics)

    def _change(self, document_id: str, change: Callable[[JobTracker], None]) -> None:
        try:
            change(self._trackers.get(document_id))
        except STARTED_AGAIN:
            change(self._trackers.join(document_id))

    def _snapshot(self, document_id: str) -> Snapshot:
        """The state in the database after a flush of this process. Raises JobNotFound."""
        tracker = self._trackers.kept(document_id)
        if tracker is not None and tracker.buffer.changes:
            with suppress(JobSuperseded):
                tracker.flush()
        snapshot = call_writer(document_id, "progress", lambda: load_snapshot(document_id))
        if snapshot is None:
            raise JobNotFound(document_id)
        return snapshot


@functools.cache
def get_progress_manager() -> PipelineProgressManager:
    """The manager of this process."""
    return PipelineProgressManager()


def _change_stage(
    tracker: JobTracker,
    name: str,
    counts: tuple[int | None, int | None, int | None],
    status: StageStatus | str | None,
) -> bool:
    """Records the given values. Returns whether they end the stage."""
    processed, total, in_flight = counts
    stage = tracker.stage(name)
    stage.set(processed=processed, total=total, in_flight=in_flight)
    if status is None:
        return False
    status = StageStatus(status)
    if status is StageStatus.IN_PROGRESS:
        stage.start()
    elif status is StageStatus.COMPLETED:
        stage.complete()
    elif status is StageStatus.ERROR:
        stage.fail(StoredSentence("The stage reported an error."))
    elif status is StageStatus.SKIPPED:
        stage.skip()
    return status.is_ending


def _is_all_completed(result: WriteResult) -> bool:
    statuses = {stage.stage_status for stage in result.stages} - {StageStatus.SKIPPED}
    return result.status is JobStatus.RUNNING and statuses == {StageStatus.COMPLETED}
