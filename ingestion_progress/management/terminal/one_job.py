"""A job in the terminal: live bars where there is one, a line per step elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Self, TextIO, cast

from django.core.management.base import OutputWrapper
from django.db import connections
from django.utils import timezone
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ingestion_progress.models.statuses import JobStatus, Liveness
from ingestion_progress.web import formatting
from ingestion_progress.wire.schemas import PipelineProgressEventData, StageProgressSchema
from ingestion_progress.wire.snapshots import Snapshot, load_snapshot

BAR_WIDTH = 32
INTERVAL_SECONDS = 0.25
# More do not fit a terminal.
MAX_WORKERS = 12
# Without a terminal a line is worth printing when the job moved at least this much.
PERCENT_PER_LINE = 5.0
STYLES = {
    "pending": "dim",
    "in_progress": "cyan",
    "completed": "green",
    "error": "red",
    "idle": "dim",
    "processing": "cyan",
    JobStatus.SUCCEEDED.value: "green",
    JobStatus.FAILED.value: "red",
    JobStatus.LOST.value: "red",
    JobStatus.CANCELLED.value: "yellow",
}


def console_for(stdout: OutputWrapper) -> Console:
    """A rich console on a command's output; from here on all output goes through it."""
    stdout.ending = ""  # rich writes its own line ends, and pieces of lines
    file = cast("TextIO", stdout)
    return Console(file=file, soft_wrap=not stdout.isatty(), highlight=False)


class Bars:
    """Shows snapshots of one job: redrawn in place on a terminal, else printed line by line."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._live = (
            Live(console=self.console, auto_refresh=False, transient=False)
            if self.console.is_terminal
            else None
        )
        self._last_line: tuple[object, ...] = ()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, snapshot: Snapshot, now: datetime | None = None) -> None:
        """Draws the newest state; a state that looks like the last one prints no line."""
        now = now or timezone.now()
        if self._live:
            self._live.update(render(snapshot, now), refresh=True)
            return
        step = step_of(snapshot, now)
        if step != self._last_line:
            self._last_line = step
            self.console.print(line(snapshot, now), markup=False)


def watch(
    job_ids: Iterable[str], console: Console, *, interval_seconds: float = INTERVAL_SECONDS
) -> list[Snapshot]:
    """Shows each job until it has ended, one after another; the last snapshots, in order.

    A job that does not exist, or is deleted meanwhile, is left out.
    """
    is_over = threading.Event()  # never set: a job ends by itself
    endings = (_show_until(job_id, console, is_over, interval_seconds) for job_id in job_ids)
    return [snapshot for snapshot in endings if snapshot]


@contextmanager
def live_bars(job_id: str, console: Console) -> Iterator[None]:
    """Shows a job from a thread of its own while the block runs it, and how it ended."""
    is_over = threading.Event()
    thread = threading.Thread(
        target=_show_in_thread, args=[job_id, console, is_over], name="bars", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _show_in_thread(job_id: str, console: Console, is_over: threading.Event) -> None:
    try:
        _show_until(job_id, console, is_over, INTERVAL_SECONDS)
    finally:
        connections.close_all()


def _show_until(
    job_id: str, console: Console, is_over: threading.Event, interval_seconds: float
) -> Snapshot | None:
    """The last state of a job, after it has ended or `is_over`; None where there is none."""
    with Bars(console) as bars:
        while True:
            is_last = is_over.is_set()
            snapshot = load_snapshot(job_id)
            if snapshot is None:
                return None
            bars.show(snapshot)
            if is_last or snapshot.job.is_finished:
                return snapshot
            is_over.wait(interval_seconds)


def render(snapshot: Snapshot, now: datetime) -> RenderableType:
    """Everything about a job: heading, a bar per stage, its workers, its metrics."""
    progress = snapshot.progress(now)
    parts: list[RenderableType] = [_heading(snapshot, progress, now)]
    if note := concern(snapshot, now):
        parts.append(Text(note, style="yellow"))
    parts.append(_stages(snapshot, progress))
    if progress.worker_pool.workers and not snapshot.job.is_finished:
        parts.append(_workers(progress))
    parts.append(_metrics(progress))
    if snapshot.job.error:
        parts.append(Text(snapshot.job.error, style="red"))
    return Group(*parts)


def line(snapshot: Snapshot, now: datetime) -> str:
    """The same in one line, for logs and pipes."""
    progress = snapshot.progress(now)
    stages = ", ".join(
        f"{stage.name} {stage.processed}/{stage.total or '?'}"
        for stage in progress.stages.values()
        if stage.status != "pending"
    )
    parts = [
        f"{progress.overall_progress_percent:5.1f}%",
        snapshot.job.status,
        progress.document_name or progress.document_id,
        stages,
        concern(snapshot, now),
        snapshot.job.error,
    ]
    return "  ".join(part for part in parts if part)


def concern(snapshot: Snapshot, now: datetime) -> str:
    """What is worrying about an unfinished job, in a sentence; empty where nothing is."""
    job = snapshot.job
    match job.liveness(now):
        case Liveness.STARVED:
            return f"Queued for {_since(job.created_at, now)}: is a worker running?"
        case Liveness.STALLED:
            return f"Alive, but without progress for {_since(job.updated_at, now)}."
        case Liveness.LOST:
            silence = _since(job.heartbeat_at or job.updated_at, now)
            return f"No sign of life for {silence}: its process has probably died."
        case _:
            return "Asked to stop." if job.cancel_requested_at and not job.is_finished else ""


def _since(start: datetime, now: datetime) -> str:
    return _duration(round((now - start).total_seconds() * 1000))


def step_of(snapshot: Snapshot, now: datetime) -> tuple[object, ...]:
    """What a line is worth printing for, when it changes."""
    job = snapshot.job
    statuses = tuple(stage.status for stage in snapshot.stages)
    percent_step = snapshot.overall_percent // PERCENT_PER_LINE
    return job.status, job.liveness(now), job.cancel_requested_at, statuses, percent_step


def _heading(
    snapshot: Snapshot, progress: PipelineProgressEventData, now: datetime
) -> RenderableType:
    status = snapshot.job.status
    liveness = snapshot.job.liveness(now)
    shown = f"{status}, {liveness.value}" if liveness and liveness != status else status
    left = progress.timing.estimated_remaining_ms
    times = _duration(progress.timing.elapsed_ms)
    if not snapshot.job.is_finished:
        times += " so far"
    if left:
        times += f", {_plain(formatting.remaining(left))}"
    name = escape(progress.document_name or progress.document_id)
    style = STYLES.get(status, "cyan")
    return Text.from_markup(
        f"[bold]{name}[/bold]  [{style}]{progress.overall_progress_percent:.1f}% {shown}[/]"
        f"  [dim]{times}  job {escape(snapshot.job.pk)}[/dim]"
    )


def _stages(snapshot: Snapshot, progress: PipelineProgressEventData) -> Table:
    table = Table.grid(padding=(0, 1))
    for stage in progress.stages.values():
        table.add_row(
            Text(stage.name, style=STYLES[stage.status]),
            ProgressBar(
                total=100,
                completed=stage.progress_percent,
                width=BAR_WIDTH,
                complete_style=STYLES[stage.status],
                finished_style=STYLES[stage.status],
            ),
            f"{stage.progress_percent:5.1f}%",
            counts(stage),
            Text(stage.status.replace("_", " "), style=STYLES[stage.status]),
        )
    for skipped in snapshot.state(timezone.now()).skipped_stages:
        table.add_row(Text(skipped, style="dim"), "", "", "", Text("skipped", style="dim"))
    return table


def counts(stage: StageProgressSchema) -> str:
    counts = f"{stage.processed}/{stage.total or '?'}"
    return f"{counts} (+{stage.in_flight})" if stage.in_flight else counts


def _workers(progress: PipelineProgressEventData) -> Table:
    pool = progress.worker_pool
    table = Table.grid(padding=(0, 1))
    for worker in pool.workers[:MAX_WORKERS]:
        table.add_row(
            Text(f"  worker {worker.id}", style="dim"),
            Text(worker.status, style=STYLES[worker.status]),
            Text(worker.current_chunk or "", no_wrap=True, overflow="ellipsis"),
        )
    hidden = len(pool.workers) - MAX_WORKERS
    if hidden > 0:
        table.add_row(Text("  and", style="dim"), f"{hidden} more")
    table.add_row(Text("  queue", style="dim"), str(pool.queue_depth), "waiting")
    return table


def _metrics(progress: PipelineProgressEventData) -> Text:
    metrics = progress.metrics
    return Text(
        f"{progress.total_chunks} chunks, {progress.total_images} images, "
        f"{metrics.entities_total} entities, {metrics.relations_total} relations, "
        f"{metrics.qdrant_writes} vectors, {metrics.neo4j_writes} graph writes",
        style="dim",
    )


def _duration(milliseconds: int) -> str:
    return _plain(formatting.duration(milliseconds))


def _plain(text: str) -> str:
    """With spaces that a search in the output finds."""
    return text.replace(formatting.NBSP, " ")
