"""A line per job, stage or worker on a terminal: name, bar, percentage, state and detail."""

from collections.abc import Collection
from typing import TypeAlias

from rich.cells import cell_len
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from ingestion_progress.management.terminal import text
from ingestion_progress.management.terminal.output import printable

MAX_BAR_WIDTH = 24
# A narrower terminal shows names in place of bars.
MIN_WIDTH_WITH_BARS = 60
MIN_NAME_WIDTH = 10
# The width of a percentage, a state and the spaces between columns.
STATE_WIDTH = 22

Row: TypeAlias = tuple[str, float, str, str, str]
"""Name, percent, style and text of a state, detail."""


def bars(rows: Collection[Row], width: int) -> Progress:
    """A table with one line per row, for a terminal with `columns` columns. Names come first."""
    longest = max((cell_len(printable(title)) for title, *_ in rows), default=1)
    bar = min(MAX_BAR_WIDTH, width // 5) if width >= MIN_WIDTH_WITH_BARS else 0
    room = max(MIN_NAME_WIDTH, (width - bar - STATE_WIDTH) * 2 // 3)
    name = Column(width=min(longest, room), no_wrap=True)
    detail = Column(ratio=1, no_wrap=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False, table_column=name),
        *([BarColumn(bar)] if bar else []),
        TextColumn("{task.fields[percent]}", style="progress.percentage"),
        TextColumn("[{task.fields[style]}]{task.fields[state]}[/]"),
        TextColumn("{task.fields[detail]}", markup=False, table_column=detail),
        auto_refresh=False,
        expand=True,
    )
    for title, percent, style, state, note in rows:
        task = progress.add_task(
            printable(title), style=style or "none", state=state, percent=text.percent(percent)
        )
        progress.update(task, completed=percent, detail=printable(note))
    return progress
