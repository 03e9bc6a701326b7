"""Plays a schedule through the tracker, as a real pipeline would drive it."""

from __future__ import annotations

import math
import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ingestion_progress import track
from ingestion_progress.exceptions import IngestionProgressError, JobCancelled
from ingestion_progress.management.schedule import Schedule, State, Work, schedule_of
from ingestion_progress.web import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestion_progress.tracker import JobTracker, WorkerSlot

DOCUMENT_NAME = "simulated-report.pdf"
# Finer than any client is told of progress.
TICK_SECONDS = 0.05
PAD_CHUNK_LENGTH = 255
# In JSON, a busy worker whose chunk has that long a name.
PAD_WORKER_BYTES = PAD_CHUNK_LENGTH + 70


class SimulatedFailure(IngestionProgressError):
    def __init__(self, percent: float) -> None:
        super().__init__(f"Simulated failure at {percent:g} %, as it was asked for.")


@dataclass(frozen=True, kw_only=True)
class Simulation:
    seconds: float
    stages: Sequence[str] | None = None
    workers: int = 4
    fail_at_percent: float | None = None
    pad_kib: int = 0

    def schedule(self) -> Schedule:
        return schedule_of(self.stages, seconds=self.seconds, workers=self.workers)

    def run(self, job_id: str) -> None:
        """Takes about `seconds`. Raises SimulatedFailure, or JobCancelled where it was stopped."""
        schedule = self.schedule()
        with track(
            DOCUMENT_NAME,
            job_id=job_id,
            stages=self.stages,
            workers=self.workers,
            total_chunks=schedule.total_chunks,
            total_images=schedule.total_images,
        ) as job:
            begun = time.monotonic()
            player = Player(job)
            player.pad(first=self.workers + 1, kib=self.pad_kib)
            try:
                self._play(schedule, player, begun)
            except KeyboardInterrupt:
                raise JobCancelled(job_id) from None

    def _play(self, schedule: Schedule, player: Player, begun: float) -> None:
        percent = self.fail_at_percent
        end = 1.0 if percent is None else schedule.moment_of(percent)
        moment = -1.0
        while moment < end:
            moment = min(end, (time.monotonic() - begun) / self.seconds)
            player.show(schedule.at(moment))
            player.job.raise_if_cancelled()
            time.sleep(min(TICK_SECONDS, (end - moment) * self.seconds))
        if percent is not None:
            raise SimulatedFailure(percent)


@dataclass
class Player:
    """Tells the tracker what changed from one state to the next."""

    job: JobTracker
    slots: dict[int, tuple[str, WorkerSlot, ExitStack]] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    completed: set[str] = field(default_factory=set)

    def pad(self, *, first: int, kib: int) -> None:
        """Busy workers on chunks with long random names: they add `kib` KiB to each state."""
        for number in range(first, first + math.ceil(kib * 1024 / PAD_WORKER_BYTES)):
            name = f"padding-{secrets.token_hex(PAD_CHUNK_LENGTH)}"[:PAD_CHUNK_LENGTH]
            self.job.worker(number, chunk=name).progress(0)

    def show(self, state: State) -> None:
        self._show_stages(state)
        for number in set(self.slots) - set(state.workers):
            self._free(number)
        for number, work in state.workers.items():
            self._hold(number, work)
        self.job.set_queue_depth(state.queue_depth)
        gained = {name: value - self.metrics.get(name, 0) for name, value in state.metrics.items()}
        self.job.count(**{name: n for name, n in gained.items() if n})
        self.metrics = dict(state.metrics)

    def _show_stages(self, state: State) -> None:
        for shown in state.stages:
            plan = shown.plan
            if plan.name in self.completed:
                continue
            stage = self.job.stage(plan.name, total=plan.total, unit=plan.unit)
            if plan.name not in self.begun:
                self.begun.add(plan.name)
                stage.start()
                counted = formatting.unit(plan.unit, plan.total)
                self.job.log(f"{plan.total} {counted} to do", stage=plan.name)
            stage.set(processed=shown.processed, in_flight=shown.in_flight)
            if shown.is_complete:
                self.completed.add(plan.name)
                stage.complete()

    def _hold(self, number: int, work: Work) -> None:
        held = self.slots.get(number)
        if held is None or held[0] != work.chunk:
            self._free(number)
            stack = ExitStack()
            held = (
                work.chunk,
                stack.enter_context(self.job.worker(number, chunk=work.chunk)),
                stack,
            )
            self.slots[number] = held
        held[1].progress(work.percent)

    def _free(self, number: int) -> None:
        if number in self.slots:
            self.slots.pop(number)[2].close()
