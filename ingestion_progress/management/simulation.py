"""Runs a simulated job through the tracker, as an ingestion task would."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ingestion_progress import track
from ingestion_progress.exceptions import IngestionProgressError, JobCancelled
from ingestion_progress.management.schedule import PlannedStage, percent_at, stages_of
from ingestion_progress.models.statuses import WorkerStatus
from ingestion_progress.tracker import JobTracker, WorkerSlot
from ingestion_progress.web import names

DOCUMENT_NAME = "simulated-report.pdf"
TICK_SECONDS = 0.05


class SimulatedFailure(IngestionProgressError):
    def __init__(self, percent: float) -> None:
        super().__init__(f"Simulated failure at {percent:g} %, as requested.")


@dataclass(frozen=True, kw_only=True)
class Simulation:
    seconds: float
    stages: Sequence[str] | None = None
    workers: int = 4
    fail_at_percent: float | None = None
    """The job fails at the first tick with at least this overall percentage."""

    def run(self, job_id: str) -> None:
        """Takes about `seconds`. Raises SimulatedFailure, or JobCancelled."""
        stages = stages_of(self.stages, seconds=self.seconds, workers=self.workers)
        totals = {stage.unit: stage.total for stage in stages}
        with track(
            DOCUMENT_NAME,
            job_id=job_id,
            stages=self.stages,
            workers=self.workers,
            total_chunks=totals.get("chunks", totals.get("items", 0)),
            total_images=totals.get("images", 0),
        ) as job:
            try:
                self._play(job, stages)
            except KeyboardInterrupt:
                raise JobCancelled(job_id) from None

    def _play(self, job: JobTracker, stages: Sequence[PlannedStage]) -> None:
        simulated, begun, moment = SimulatedJob(job, stages, self.workers), time.monotonic(), 0.0
        tick = min(TICK_SECONDS, self.seconds / 100)
        while True:
            simulated.show(moment)
            percent = self.fail_at_percent
            if percent is not None and (percent_at(stages, moment) >= percent or moment >= 1):
                raise SimulatedFailure(percent)
            job.raise_if_cancelled()
            if moment >= 1:
                return
            time.sleep(tick)
            moment = min(1.0, (time.monotonic() - begun) / self.seconds)


class SimulatedJob:
    """Reports the state of each moment to the tracker."""

    def __init__(self, job: JobTracker, stages: Sequence[PlannedStage], workers: int) -> None:
        self._job = job
        self._stages = stages
        self._workers = workers
        self._shown_moment = -1.0
        self._slots: dict[int, WorkerSlot] = {}
        """The busy slots, by number."""

    def show(self, moment: float) -> None:
        # The pool works for the last of the running stages, where a document spends most time.
        running = [stage for stage in self._stages if stage.is_running(moment)]
        pooled = running[-1] if running else None
        for planned in self._stages:
            if planned.start <= moment and planned.end > self._shown_moment:
                self._show_stage(planned, moment, max(1, self._workers) if planned is pooled else 1)
        items = pooled.items_in_flight(moment, max(1, self._workers)) if pooled else range(0)
        self._show_workers(pooled, items, moment)
        self._job.set_queue_depth(
            max(0, pooled.items_available(moment) - items.stop) if pooled else 0
        )
        self._job.set_metrics(**metrics_at(self._stages, moment))
        self._shown_moment = moment

    def _show_stage(self, planned: PlannedStage, moment: float, width: int) -> None:
        stage = self._job.stage(planned.name, total=planned.total, unit=planned.unit)
        if planned.start > self._shown_moment:
            stage.start()
            unit = names.unit_in_english(planned.unit, planned.total)
            self._job.log(f"{planned.total} {unit} to do", stage=planned.name)
        in_flight = len(planned.items_in_flight(moment, width))
        stage.set(processed=planned.processed(moment), in_flight=in_flight)
        if moment >= planned.end:
            stage.complete()

    def _show_workers(self, stage: PlannedStage | None, items: range, moment: float) -> None:
        """Each worker keeps its item until the item is processed."""
        before, self._slots = self._slots, {}
        if stage is not None and self._workers:
            for item in items:
                number = 1 + item % self._workers
                chunk = f"{stage.unit.removesuffix('s')}-{item + 1}"
                slot = self._slots[number] = self._job.worker(number, chunk=chunk)
                slot.progress(stage.item_percent(item, moment, self._workers))
        for number in before.keys() - self._slots.keys():
            before[number].change(WorkerStatus.IDLE)


def metrics_at(stages: Sequence[PlannedStage], moment: float) -> dict[str, int]:
    by_name = {stage.name: stage for stage in stages}
    extracted = by_name.get("extraction", stages[-1]).processed(moment)
    entities, relations = extracted * 7 // 2, extracted * 9 // 4
    return {
        "entities_total": entities,
        "relations_total": relations,
        "neo4j_writes": entities + relations,
        "qdrant_writes": by_name.get("embedding", stages[-1]).processed(moment),
    }
