"""Shows followed jobs: bars on a terminal, a line per step of a job elsewhere, or JSON."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import TypeAlias

from django.core.management.base import OutputWrapper
from django.utils.translation import gettext
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ingestion_progress.exceptions.stored_sentences import translate_stored
from ingestion_progress.management.terminal import text
from ingestion_progress.management.terminal.bars import Row, bars
from ingestion_progress.management.terminal.output import printable, printable_json
from ingestion_progress.models import Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.names import METRIC_NAMES
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.web import formatting, stage_texts
from ingestion_progress.web.names import label, unit
from ingestion_progress.wire.batches import BatchProgressEventData
from ingestion_progress.wire.schemas import (
    JobPipelineProgressEventData,
    PipelineProgressEventData,
    WireModel,
)
from ingestion_progress.wire.snapshots import Snapshot

REDRAWS_PER_SECOND = 4
# More do not fit a terminal.
MAX_WORKERS = 12
# Below the bars of many jobs: how many more there are, and the line of the cursor.
LINES_BELOW = 2
STYLES = {
    **dict.fromkeys(["in_progress", "processing", "running"], "cyan"),
    **dict.fromkeys(["completed", "succeeded"], "green"),
    **dict.fromkeys(["error", "failed", "lost", "deleted", "unreadable"], "red"),
    **dict.fromkeys(["cancelled", "partial"], "yellow"),
}

Change: TypeAlias = tuple[str, Snapshot | None, str]
"""Job id, new state, and status or result. No state: the job is deleted or unreadable."""


class MultiJobView:
    """Shows a line per ended job and, on a terminal, as many bars of active jobs as fit below."""

    is_single = False

    def __init__(self, console: Console) -> None:
        self.console = console
        self._states: dict[str, Snapshot] = {}
        """What the bars show."""
        self._steps: dict[str, tuple[object, ...]] = {}
        """The steps at which their lines were last printed."""
        self._batch: BatchProgressEventData | None = None
        self._batch_step = -1.0
        self.display: AbstractContextManager[object] = nullcontext()
        if console.is_terminal:
            self.display = Live(
                console=console, get_renderable=self.render, refresh_per_second=REDRAWS_PER_SECOND
            )

    def show(self, changes: Iterable[Change]) -> None:
        """Prints all lines together: each print draws the bars again."""
        lines = [self._line(change, database_now()) for change in changes]
        if lines := list(filter(None, lines)):
            self.console.print(Text("\n").join(lines))

    def show_batch(self, data: BatchProgressEventData | None, *, is_last: bool = False) -> None:
        """Shows the batch: below the bars, or without a terminal as a line after some progress."""
        if data is None or data == self._batch:
            return
        step = data.progress.overall_progress_percent // text.PERCENT_PER_LINE
        is_line = step != self._batch_step and not self.console.is_terminal
        self._batch, self._batch_step = data, step
        if is_line or is_last:
            self.console.print(Text(printable(text.batch_line(data))))

    def conclude(self, words: str) -> None:
        self.console.print(words, markup=False)

    def render(self) -> RenderableType:
        """Called in the display's thread as well."""
        batch = self._batch
        rows = max(1, self.console.height - LINES_BELOW - (batch is not None))
        states = list(self._states.values())
        jobs = render_many(states, database_now(), rows, self.console.width)
        return Group(jobs, Text(printable(text.batch_line(batch)), style="bold")) if batch else jobs

    def _line(self, change: Change, now: datetime) -> Text | None:
        """None if a bar shows the state, or the job has made no step."""
        job_id, snapshot, status = change
        style, before = STYLES.get(status, ""), self._steps.pop(job_id, None)
        self._states.pop(job_id, None)
        if snapshot is None:
            return Text(printable(f"{job_id}  {text.word(status)}"), style=style)
        is_ended, step = snapshot.job.is_finished, text.step_of(snapshot, now)
        if self.is_single or not is_ended:
            self._states[job_id], self._steps[job_id] = snapshot, step
            if self.console.is_terminal or step == before:
                return None
        prefix = "" if self.is_single else f"{job_id}  "
        return Text(printable(prefix + text.line(snapshot, now)), style=style if is_ended else "")


class JobView(MultiJobView):
    """One job: a bar for itself and for each stage and worker."""

    is_single = True

    def render(self) -> RenderableType:
        now, width = database_now(), self.console.width
        return Group(*(render_one(each, now, width) for each in list(self._states.values())))


class JsonView:
    """Objects as the streams send them to one output, errors and warnings to the other."""

    def __init__(self, states: OutputWrapper, remarks: OutputWrapper, *, is_single: bool) -> None:
        self.display: AbstractContextManager[object] = nullcontext()
        self._states = states
        self._remarks = remarks
        self._is_single = is_single
        self._written: dict[str, tuple[str, str]] = {}
        """The cursor and the warning of each active job, as last written."""
        self._batch: BatchProgressEventData | None = None

    def show(self, changes: Iterable[Change]) -> None:
        for job_id, snapshot, status in changes:
            remark = (
                text.word(status) if snapshot is None else self._write(snapshot, database_now())
            )
            if remark:
                remark = remark if self._is_single else f"{job_id}  {remark}"
                self.conclude(printable(remark))

    def show_batch(self, data: BatchProgressEventData | None, *, is_last: bool = False) -> None:
        """Whenever it has changed."""
        if data is not None and data != self._batch:
            self._batch = data
            self._write_object(data)

    def conclude(self, words: str) -> None:
        self._remarks.write(words)

    def _write(self, snapshot: Snapshot, now: datetime) -> str:
        """Writes a new state, and returns the error or warning to print with it."""
        job, warning = snapshot.job, text.warning(snapshot, now)
        cursor, warned = self._written.pop(job.pk, ("", ""))
        if not job.is_finished:
            self._written[job.pk] = (snapshot.cursor, warning)
        if snapshot.cursor != cursor:
            data: WireModel = snapshot.progress(now)
            if not self._is_single:
                data = JobPipelineProgressEventData(job_id=job.pk, **dict(data))
            self._write_object(data)
        return translate_stored(job.error) or (warning if warning != warned else "")

    def _write_object(self, data: WireModel) -> None:
        self._states.write(printable_json(data.model_dump_json()))
        self._states.flush()


def render_many(
    snapshots: Collection[Snapshot], now: datetime, rows: int, width: int
) -> RenderableType:
    """A bar per job, as many as there are rows, and how many more jobs there are."""
    shown = most_interesting(snapshots, rows)
    table = bars([_job_row(snapshot, now) for snapshot in shown], width)
    if hidden := len(snapshots) - len(shown):
        more = gettext("and %(number)s more") % {"number": formatting.count(hidden)}
        return Group(table, Text(more, style="dim"))
    return table


def render_one(snapshot: Snapshot, now: datetime, width: int) -> RenderableType:
    """Heading, a bar for each stage and worker, counts, warning, error."""
    progress, job = snapshot.progress(now), snapshot.job
    pool = progress.worker_pool
    hidden = max(0, len(pool.workers) - MAX_WORKERS)
    queue = gettext("queue %(number)s waiting") % {"number": formatting.count(pool.queue_depth)}
    if hidden:
        queue = gettext("and %(number)s more workers") % {"number": hidden} + f", {queue}"
    numbers = ", ".join(f"{formatting.count(n)} {unit(name, n)}" for name, n in _counted(job))
    lines = [
        (queue if pool.workers and not job.is_finished else "", "dim"),
        (numbers, "dim"),
        (text.warning(snapshot, now), "yellow"),
        (translate_stored(job.error), "red"),
    ]
    below = [Text(printable(line), style=style) for line, style in lines if line]
    table = bars([*_rows(snapshot, progress, now)], width)
    return Group(_heading(snapshot, progress, now), table, *below)


def _counted(job: Job) -> Iterator[tuple[str, int]]:
    """What the pages show, but for the errors."""
    for field, name in METRIC_NAMES.items():
        if field != "error_count":
            yield name, getattr(job, field)


def most_interesting(snapshots: Iterable[Snapshot], rows: int) -> list[Snapshot]:
    """The running jobs that started last, then the queued ones that are next."""
    by_start = sorted(snapshots, key=lambda s: (s.job.started_at or s.job.created_at, s.job.pk))
    running = [each for each in by_start if each.job.job_status is JobStatus.RUNNING]
    queued = [each for each in by_start if each.job.job_status is JobStatus.QUEUED]
    return (running[-rows:] + queued)[:rows]


def _job_row(snapshot: Snapshot, now: datetime) -> Row:
    job, warning = snapshot.job, text.warning(snapshot, now)
    stages = ", ".join(
        f"{stage.name} {text.counts(stage)}"
        for stage in snapshot.progress(now).stages.values()
        if stage.status == "in_progress"
    )
    style = "yellow" if warning else STYLES.get(job.status, "")
    name = job.document_name or job.document_id or job.pk
    return name, snapshot.overall_percent, style, text.word(job.status), warning or stages


def _rows(snapshot: Snapshot, progress: PipelineProgressEventData, now: datetime) -> Iterator[Row]:
    """The stages and workers of one job."""
    for stored in snapshot.planned_stages:
        stage = progress.stages[stored.name]
        shown = stored.shown_status(is_over=snapshot.job.is_finished).value
        detail = text.counts(stage, is_estimated=stored.is_estimated)
        if stored.failed:
            detail += ", " + stage_texts.failures(stored.failed)
        style, state = STYLES.get(shown, ""), text.word(shown)
        name = label(stage.name)
        yield name, stage.progress_percent, style, state, detail
    for skipped in snapshot.state(now).skipped_stages:
        yield label(skipped), 0, "dim", text.word("skipped"), ""
    workers = [] if snapshot.job.is_finished else progress.worker_pool.workers
    for worker in workers[:MAX_WORKERS]:
        style, chunk = STYLES.get(worker.status, ""), worker.current_chunk or ""
        name = gettext("worker %(number)s") % {"number": worker.id}
        yield f"  {name}", worker.progress_percent, style, text.word(worker.status), chunk


def _heading(snapshot: Snapshot, progress: PipelineProgressEventData, now: datetime) -> Text:
    job, timing = snapshot.job, progress.timing
    status, liveness = text.status(job), job.liveness(now)
    has_other = liveness is not None and liveness != job.status
    shown = f"{status}, {text.word(liveness)}" if liveness and has_other else status
    if job.attempt > 1:
        shown += f", {text.attempt(job)}"
    times = formatting.duration(timing.elapsed_ms)
    if not job.is_finished:
        times = gettext("%(time)s so far") % {"time": times}
    forecast = snapshot.forecast(now)
    if forecast and forecast.likely_ms:
        left = formatting.remaining(forecast.likely_ms, forecast.low_ms, forecast.high_ms)
        times += f", {left}"
    job_id = gettext("job %(id)s") % {"id": job.pk}
    return Text.assemble(
        (printable(progress.document_name or progress.document_id), "bold"),
        (
            f"  {text.percent(progress.overall_progress_percent).strip()} {shown}",
            STYLES.get(job.result or job.status, ""),
        ),
        (printable(f"  {times}  {job_id}"), "dim"),
    )
