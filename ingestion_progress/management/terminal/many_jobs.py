"""Many jobs in the terminal: a bar for each that is active, a line for each that has ended."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Self

from django.utils import timezone
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ingestion_progress.management.terminal.one_job import STYLES, concern, counts, line, step_of
from ingestion_progress.management.terminal.poll import Lookout, News
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.snapshots import Snapshot

BAR_WIDTH = 20
# Below the bars: how many more there are, and the line that the cursor is on.
LINES_BELOW = 2


class Panel:
    """Shows a lookout: redrawn in place on a terminal, else printed line by line."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._steps: dict[str, tuple[object, ...]] = {}
        """Of each active job, what its last line was printed for."""

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, lookout: Lookout, news: News) -> None:
        """Draws what is active. What has ended leaves a line above, which scrolls away."""
        now = timezone.now()
        lines = [self._line(job_id, snapshot, lookout, now) for job_id, snapshot in news.items()]
        told = list(filter(None, lines))
        if self._live:
            bars = render_many(lookout.active.values(), now, self._rows)
            self._live.update(bars, refresh=not told)
        if told:  # at once: each print draws the bars below it again
            self.console.print(Text("\n").join(told))

    def conclude(self, words: str) -> None:
        """The last line, once the bars stand still."""
        self.console.print(words, markup=False)

    def _line(
        self, job_id: str, snapshot: Snapshot | None, lookout: Lookout, now: datetime
    ) -> Text | None:
        """What is printed of a job; None where that is nothing new, or is drawn."""
        before = self._steps.pop(job_id, None)
        if snapshot is None:
            return Text(f"{job_id}  {lookout.unsuccessful[job_id]}", style=STYLES["error"])
        text = Text(_printable(f"{job_id}  {line(snapshot, now)}"))
        if snapshot.job.is_finished:
            text.stylize(STYLES[snapshot.job.status])
            return text
        step = self._steps[job_id] = step_of(snapshot, now)
        return None if self._live or step == before else text

    @property
    def _rows(self) -> int:
        """So many bars fit: what is higher than the terminal cannot be redrawn in place."""
        return max(1, self.console.height - LINES_BELOW)


def render_many(snapshots: Collection[Snapshot], now: datetime, rows: int) -> RenderableType:
    """A bar per job, as many as there are rows, and how many there are beside them."""
    shown = most_interesting(snapshots, rows)
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(ratio=2, no_wrap=True)
    table.add_column(width=BAR_WIDTH)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True)
    table.add_column(ratio=3, no_wrap=True)
    for snapshot in shown:
        table.add_row(*_cells(snapshot, now))
    hidden = len(snapshots) - len(shown)
    return Group(table, Text(f"and {hidden} more", style="dim")) if hidden else table


def most_interesting(snapshots: Collection[Snapshot], rows: int) -> list[Snapshot]:
    """The running ones that began last, then the queued ones whose turn is next."""
    by_beginning = sorted(snapshots, key=_beginning)
    running = [each for each in by_beginning if each.job.job_status is JobStatus.RUNNING]
    queued = [each for each in by_beginning if each.job.job_status is JobStatus.QUEUED]
    return (running[-rows:] + queued)[:rows]


def _beginning(snapshot: Snapshot) -> tuple[datetime, str]:
    job = snapshot.job
    return job.started_at or job.created_at, job.pk


def _cells(snapshot: Snapshot, now: datetime) -> list[RenderableType]:
    job, percent = snapshot.job, snapshot.overall_percent
    worry = concern(snapshot, now)
    style = "yellow" if worry else STYLES["in_progress"]
    return [
        _one_line(job.document_name or job.document_id or job.pk),
        ProgressBar(total=100, completed=percent, width=BAR_WIDTH, complete_style=style),
        f"{percent:5.1f}%",
        Text(job.status, style=style),
        _one_line(worry, style) if worry else _one_line(_stages(snapshot, now), "dim"),
    ]


def _stages(snapshot: Snapshot, now: datetime) -> str:
    """The stages that a job is in."""
    return ", ".join(
        f"{stage.name} {counts(stage)}"
        for stage in snapshot.progress(now).stages.values()
        if stage.status == "in_progress"
    )


def _one_line(text: str, style: str = "") -> Text:
    return Text(_printable(text), style=style, no_wrap=True, overflow="ellipsis")


def _printable(text: str) -> str:
    """A name may hold anything: a second line, or a word for the terminal, spoils the redrawing."""
    return "".join(character if character.isprintable() else " " for character in text)
