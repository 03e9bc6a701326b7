"""What a tracker was told and the database does not know yet, in memory.

Changes merge: a counter that was advanced a thousand times is one number here, and one
`F()` expression in the database. Nothing in this module is locked; `Buffer` does that.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db.models import F, Value
from django.db.models.functions import Greatest

from ingestion_progress.exceptions import InvalidCount

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models.expressions import Combinable

    from ingestion_progress.models.statuses import EventLevel, StageStatus, WorkerStatus

# JavaScript's largest exact integer, and far below the limit of 8-byte columns.
MAX_COUNT = 2**53 - 1
# What PostgreSQL's 4-byte columns hold.
MAX_SMALL_COUNT = 2**31 - 1
SMALL_COUNTS = frozenset({"total_chunks", "total_images", "pool_size", "queue_depth", "in_flight"})
# In memory, for one job: a database that stays away must not fill the process.
MAX_PENDING_EVENTS = 10_000


def checked_count(name: str, value: object) -> int:
    """The value itself. Raises InvalidCount unless it is an integer that its column can hold."""
    most = MAX_SMALL_COUNT if name in SMALL_COUNTS else MAX_COUNT
    if not isinstance(value, int) or not 0 <= value <= most:
        raise InvalidCount(f"{name} is {value!r}; it must be an integer from 0 to {most}.")
    return value


class Counter:
    """A column's change: set to `base` (None: as it is), then `delta` added."""

    __slots__ = ("base", "delta")

    def __init__(self) -> None:
        self.base: int | None = None
        self.delta = 0

    def set(self, value: int) -> None:
        self.base = value
        self.delta = 0

    @property
    def is_changed(self) -> bool:
        return self.delta != 0 or self.base is not None

    def follow(self, later: Counter) -> None:
        """Takes in what happened after this."""
        if later.base is None:
            self.delta += later.delta
        else:
            self.base, self.delta = later.base, later.delta

    def applied_to(self, value: int) -> int:
        return max(0, (value if self.base is None else self.base) + self.delta)

    def expression(self, column: str) -> int | Combinable:
        """For `QuerySet.update`. Never below 0: what it counted may have been reset since."""
        if self.base is not None:
            return max(0, self.base + self.delta)
        if self.delta >= 0:
            return F(column) + self.delta
        return Greatest(Value(0), F(column) + self.delta)


class Counters(defaultdict[str, Counter]):
    """Counters by column name, made on first use."""

    def __init__(self) -> None:
        super().__init__(Counter)

    def follow(self, later: Counters) -> None:
        for name, counter in later.items():
            self[name].follow(counter)

    def expressions(self) -> dict[str, int | Combinable]:
        return {
            name: counter.expression(name) for name, counter in self.items() if counter.is_changed
        }


class StageChanges:
    __slots__ = ("counters", "finished_at", "started_at", "status", "unit")

    def __init__(self) -> None:
        self.counters = Counters()
        self.status: StageStatus | None = None
        self.started_at: datetime | None = None
        self.finished_at: datetime | None = None
        self.unit = ""

    @property
    def is_final(self) -> bool:
        """No status may follow the pending one, as none would once it was written."""
        return self.status is not None and self.status.is_final

    def follow(self, later: StageChanges) -> None:
        self.counters.follow(later.counters)
        if not self.is_final:
            self.status = later.status or self.status
            self.started_at = self.started_at or later.started_at
            self.finished_at = later.finished_at or self.finished_at
        self.unit = later.unit or self.unit


@dataclass(frozen=True, kw_only=True)
class WorkerChange:
    status: WorkerStatus
    current_chunk: str = ""
    progress_percent: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EventEntry:
    at: datetime
    level: EventLevel
    message: str
    stage: str = ""
    item: str = ""


@dataclass
class JobChanges:
    """Everything pending for one job. False when there is nothing."""

    counters: Counters = field(default_factory=Counters)
    """Columns of the job."""
    own_counters: Counters = field(default_factory=Counters)
    """The pipeline's own, kept in `Job.counters`."""
    stages: defaultdict[str, StageChanges] = field(
        default_factory=lambda: defaultdict(StageChanges)
    )
    workers: dict[int, WorkerChange] = field(default_factory=dict)
    events: list[EventEntry] = field(default_factory=list)
    dropped_events: int = 0

    def __bool__(self) -> bool:
        return bool(
            self.counters or self.own_counters or self.stages or self.workers or self.events
        )

    def add_event(self, event: EventEntry) -> None:
        if len(self.events) < MAX_PENDING_EVENTS:
            self.events.append(event)
        else:
            self.dropped_events += 1

    def follow(self, later: JobChanges) -> None:
        """Takes in what happened after this, as if both had been one."""
        self.counters.follow(later.counters)
        self.own_counters.follow(later.own_counters)
        for name, changes in later.stages.items():
            self.stages[name].follow(changes)
        self.workers |= later.workers
        for event in later.events:
            self.add_event(event)
        self.dropped_events += later.dropped_events
