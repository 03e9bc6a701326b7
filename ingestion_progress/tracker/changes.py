"""Changes in memory that are not written yet.

Changes merge: a counter that was advanced a thousand times is one number here, and one `F()`
expression in the database. Only `ThreadCounts` is thread-safe; `Buffer` holds the lock of the rest.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Model

from ingestion_progress.models.statuses import EventLevel, StageStatus, WorkerStatus
from ingestion_progress.tracker.error_groups import ErrorGroups
from ingestion_progress.tracker.keys import Key, KeySet

# The limit for one job in memory, so that a database that is down does not fill the process.
MAX_PENDING_EVENTS = 10_000


@dataclass(slots=True)
class Counter:
    """The change of a column: `base` replaces it (None: keeps it), then `delta` is added."""

    base: int | None = None
    delta: int = 0

    def set(self, value: int) -> None:
        self.base, self.delta = value, 0

    def follow(self, later: Counter) -> None:
        """Merges a later change into this one."""
        if later.base is None:
            self.delta += later.delta
        else:
            self.base, self.delta = later.base, later.delta

    def applied_to(self, value: int) -> int:
        """Never below 0: the column may have been reset since."""
        return max(0, (value if self.base is None else self.base) + self.delta)


class Counters(defaultdict[str, Counter]):
    """Counters by column name, created on first use."""

    def __init__(self) -> None:
        super().__init__(Counter)

    def follow(self, later: Counters) -> None:
        for name, counter in later.items():
            self[name].follow(counter)

    def apply_to(self, row: Model) -> None:
        """Changes the columns of a row in memory."""
        for name, counter in self.items():
            setattr(row, name, counter.applied_to(getattr(row, name)))


class ThreadCounts(defaultdict[int, int]):
    """A sum by thread: each adds to its own number, which never falls, so none needs a lock.

    The number of a thread that has ended stays; a later thread with the same id continues it.
    """

    def __init__(self) -> None:
        super().__init__(int)
        self._taken = 0

    def take(self) -> int:
        """What was added since the last call. Two calls must not overlap."""
        total = sum(list(self.values()))  # a list, because a thread may add its key meanwhile
        added, self._taken = total - self._taken, total
        return added


@dataclass(slots=True)
class KeyChanges:
    """Keys of items that were reported. No key is in both sets."""

    done: KeySet = field(default_factory=KeySet)
    failed: set[Key] = field(default_factory=set)
    forgotten: int = 0
    """Keys that are done and beyond the limits of the set."""

    def __bool__(self) -> bool:
        return bool(self.done or self.failed or self.forgotten)

    def add(self, key: Key, *, has_failed: bool) -> None:
        if has_failed:
            self.failed.add(key)
        else:
            self.forgotten += self.done.add(key).forgotten

    def follow(self, later: KeyChanges) -> None:
        self.forgotten += later.forgotten + self.done.update(later.done).forgotten
        self.failed |= later.failed


@dataclass(slots=True)
class StageChanges:
    counters: Counters = field(default_factory=Counters)
    keys: KeyChanges = field(default_factory=KeyChanges)
    status: StageStatus | None = None
    was_interrupted: bool = False
    total_is_estimate: bool | None = None
    """None: unchanged."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    unit: str = ""

    @property
    def is_final(self) -> bool:
        """The pending status is final: no other may follow, just as in the database."""
        return self.status is not None and self.status.is_final

    def follow(self, later: StageChanges) -> None:
        self.counters.follow(later.counters)
        self.keys.follow(later.keys)
        if not self.is_final:
            self.status = later.status or self.status
            self.was_interrupted = later.was_interrupted
            self.started_at = self.started_at or later.started_at
            self.finished_at = later.finished_at or self.finished_at
        if later.total_is_estimate is not None:
            self.total_is_estimate = later.total_is_estimate
        self.unit = later.unit or self.unit


@dataclass(frozen=True, kw_only=True)
class WorkerChange:
    """The columns of a worker, all of which it replaces."""

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
    """Everything pending for one job; false if nothing is."""

    counters: Counters = field(default_factory=Counters)
    """Columns of the job."""
    own_counters: Counters = field(default_factory=Counters)
    """The pipeline's own counters, kept in `Job.counters`."""
    stages: defaultdict[str, StageChanges] = field(
        default_factory=lambda: defaultdict(StageChanges)
    )
    workers: dict[int, WorkerChange] = field(default_factory=dict)
    events: list[EventEntry] = field(default_factory=list)
    dropped_events: int = 0
    errors: ErrorGroups = field(default_factory=ErrorGroups)
    waiting_for: str | None = None
    """A service, or empty; None: as before."""

    def __bool__(self) -> bool:
        counts = self.counters or self.own_counters or self.stages
        has_rows = counts or self.workers or self.events or self.errors
        return bool(has_rows) or self.waiting_for is not None

    def add_event(self, event: EventEntry) -> None:
        if len(self.events) < MAX_PENDING_EVENTS:
            self.events.append(event)
        else:
            self.dropped_events += 1

    def follow(self, later: JobChanges) -> None:
        """Merges later changes into these."""
        self.counters.follow(later.counters)
        self.own_counters.follow(later.own_counters)
        for name, changes in later.stages.items():
            self.stages[name].follow(changes)
        self.workers |= later.workers
        for event in later.events:
            self.add_event(event)
        self.dropped_events += later.dropped_events
        self.errors.follow(later.errors)
        if later.waiting_for is not None:
            self.waiting_for = later.waiting_for
