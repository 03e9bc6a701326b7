"""The API that the user's specification names: a thin face of the tracker.

    manager = get_progress_manager()
    manager.start_document(document_id="doc-1", document_name="test.pdf", total_chunks=32)
    await manager.update_stage("doc-1", "parsing", processed=1, total=1,
                               status=StageStatus.COMPLETED)

`document_id` is the job's id in the URL. Every call works from any process: a document that
another one started is joined on first use. Coroutines have a twin for sync code, `…_sync`.
Whatever waits for the database raises ProgressUnavailable where it does not answer in time.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from django.utils import timezone

from ingestion_progress.exceptions import (
    InvalidTransition,
    JobNotFound,
    JobSuperseded,
    UnknownStage,
)
from ingestion_progress.models.statuses import JobStatus, StageStatus, WorkerStatus
from ingestion_progress.tracker import JobTracker, Stages, delete_job, track
from ingestion_progress.tracker.calls import timeout_as_unavailable
from ingestion_progress.tracker.contexts import AttachedJob
from ingestion_progress.tracker.database import jobs
from ingestion_progress.tracker.sql import WriteResult
from ingestion_progress.tracker.writer import current_writer
from ingestion_progress.wire.schemas import (
    PipelineProgressEvent,
    PipelineProgressEventData,
    WorkerInfoSchema,
)
from ingestion_progress.wire.snapshots import Snapshot, load_snapshot

__all__ = ["PipelineProgressManager", "StageStatus", "get_progress_manager"]

# Named in an error, so that a mistyped id is seen at a glance.
MAX_RUNNING_NAMED = 5
# How it shows that another process may have started the document again, perhaps with other stages.
STARTED_AGAIN = (JobSuperseded, UnknownStage)


class Done:
    """What a call returns that is over when it returns: may be awaited, or not."""

    def __await__(self) -> Iterator[None]:
        return iter(())


class PipelineProgressManager:
    """Thread-safe. Holds the trackers of the documents that this process drives."""

    def __init__(self) -> None:
        self._trackers: dict[str, JobTracker] = {}
        self._lock = threading.Lock()

    # Plain calls, in sync and in async code

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
        """Starts a job; one of that id begins a new attempt. Raises InvalidJobId."""
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
        self._keep(tracker)
        return self._snapshot(document_id).progress(timezone.now())

    def get_progress(self, document_id: str) -> PipelineProgressEventData | None:
        """The state with all that this process has reported; None for an unknown document."""
        try:
            return self._snapshot(document_id).progress(timezone.now())
        except JobNotFound:
            return None

    def get_sse_event(self, document_id: str) -> dict[str, Any] | None:
        """`{"type": "pipeline_progress", "data": {...}}`, or None for an unknown document."""
        progress = self.get_progress(document_id)
        return None if progress is None else PipelineProgressEvent(data=progress).model_dump()

    def remove_document(self, document_id: str) -> None:
        """Deletes the job with all its rows, running or not. Raises JobNotFound."""
        with self._lock:
            tracker = self._trackers.pop(document_id, None)
        if tracker is not None:
            tracker.leave()
        delete = functools.partial(delete_job, document_id, even_if_running=True)
        with timeout_as_unavailable(document_id, "removal"):
            current_writer().call(delete)

    def complete_document(self, document_id: str) -> Done:
        """The job succeeded. Nothing happens if it has succeeded already."""
        try:
            self._say(document_id, JobTracker.complete)
        except InvalidTransition:
            if self._snapshot(document_id).job.job_status is not JobStatus.SUCCEEDED:
                raise
        return Done()

    def fail_document(self, document_id: str, error: str = "") -> Done:
        """The job failed. Raises InvalidTransition if it has ended otherwise."""
        self._say(document_id, lambda tracker: tracker.fail(error))
        return Done()

    # Coroutines, and their twins

    async def update_stage(  # noqa: PLR0917  (the specification's order)
        self,
        document_id: str,
        stage_name: str,
        processed: int | None = None,
        total: int | None = None,
        in_flight: int | None = None,
        status: StageStatus | str | None = None,
    ) -> None:
        """Replaces what is given. Completing the last planned stage completes the job.

        Raises JobNotFound, UnknownStage (which lists the declared ones) or InvalidCount.
        """

        async def say(tracker: JobTracker) -> None:
            if _change_stage(tracker, stage_name, (processed, total, in_flight), status):
                recorded = await tracker.aflush()
                if _is_all_done(recorded):
                    await tracker.acomplete()

        try:
            await say(self._tracker(document_id))
        except STARTED_AGAIN:
            await say(self._joined(document_id))

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

        def say(tracker: JobTracker) -> None:
            if _change_stage(tracker, stage_name, (processed, total, in_flight), status):
                recorded = tracker.flush()
                if _is_all_done(recorded):
                    tracker.complete()

        self._say(document_id, say)

    async def update_workers(
        self,
        document_id: str,
        workers: Iterable[WorkerInfoSchema | Mapping[str, Any]] = (),
        *,
        max_workers: int | None = None,
        queue_depth: int | None = None,
    ) -> None:
        """Replaces the given slots: objects like those in `worker_pool.workers`.

        How many are active is counted from their status. Raises JobNotFound, InvalidCount.
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
        tracker = self._tracker(document_id)
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
        self._tracker(document_id).set_metrics(**metrics)

    def _say(self, document_id: str, say: Callable[[JobTracker], None]) -> None:
        try:
            say(self._tracker(document_id))
        except STARTED_AGAIN:
            say(self._joined(document_id))

    def _tracker(self, document_id: str) -> JobTracker:
        """The tracker of a document, joined if this process does not drive it yet, or no longer."""
        with self._lock:
            tracker = self._trackers.get(document_id)
        if tracker is None or tracker.buffer.is_over:
            return self._joined(document_id)
        return tracker

    def _joined(self, document_id: str) -> JobTracker:
        """The tracker of the attempt that the database has now."""
        tracker = AttachedJob(document_id, even_if_ended=True)
        try:
            tracker.start()
        except JobNotFound:
            with timeout_as_unavailable(document_id, "start"):
                running = current_writer().call(_running)
            raise JobNotFound(document_id, running) from None
        return self._keep(tracker)

    def _keep(self, tracker: JobTracker) -> JobTracker:
        """The one that stays, the other is left: of the same attempt the first, else the newest."""
        with self._lock:
            other = self._trackers.pop(tracker.job_id, None)
            self._forget_ended()
            if other is not None and other.buffer.attempt.epoch == tracker.buffer.attempt.epoch:
                tracker, other = other, tracker
            self._trackers[tracker.job_id] = tracker
        if other is not None:
            other.leave()
        return tracker

    def _snapshot(self, document_id: str) -> Snapshot:
        """What the database knows once it has been told what this process has to say."""
        with self._lock:
            tracker = self._trackers.get(document_id)
        if tracker is not None:
            _flush_pending(tracker)
        with timeout_as_unavailable(document_id, "progress"):
            snapshot = current_writer().call(functools.partial(load_snapshot, document_id))
        if snapshot is None:
            raise JobNotFound(document_id)
        return snapshot

    def _forget_ended(self) -> None:
        """Keeps a process that drives documents for ever from growing; the lock is held."""
        for document_id, tracker in list(self._trackers.items()):
            if tracker.buffer.is_over:
                del self._trackers[document_id]
                tracker.leave()


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
    """Records what is given; did the stage end with it?"""
    processed, total, in_flight = counts
    stage = tracker.stage(name)
    stage.set(processed=processed, total=total, in_flight=in_flight)
    wanted = None if status is None else StageStatus(status)
    if wanted is StageStatus.IN_PROGRESS:
        stage.start()
    elif wanted is StageStatus.COMPLETED:
        stage.complete()
    elif wanted is StageStatus.ERROR:
        stage.fail("The stage reported an error.")
    elif wanted is StageStatus.SKIPPED:
        stage.skip()
    return wanted is not None and wanted.is_ending


def _flush_pending(tracker: JobTracker) -> None:
    if tracker.buffer.changes:
        with suppress(JobSuperseded):
            tracker.flush()


def _is_all_done(recorded: WriteResult) -> bool:
    planned = [stage for stage in recorded.stages if stage.stage_status is not StageStatus.SKIPPED]
    is_complete = all(stage.stage_status is StageStatus.COMPLETED for stage in planned)
    return recorded.status is JobStatus.RUNNING and is_complete and bool(planned)


def _running() -> list[str]:
    return list(jobs().running().values_list("pk", flat=True)[:MAX_RUNNING_NAMED])
