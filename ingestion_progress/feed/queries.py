"""What changed in the database since it was last read, already encoded."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import DataError, InternalError, connections, router
from django.db import Error as DatabaseFailure
from django.db.models import QuerySet

from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.feed.job_state import JobState, NoState, State
from ingestion_progress.models import Job, rows_by
from ingestion_progress.models.statuses import Liveness
from ingestion_progress.wire.frames import Frame, encode_error, missing_frame
from ingestion_progress.wire.snapshots import Snapshot, load_snapshots

# A client that resumes after more ends than these gets the newest.
MAX_ENDED = 1000
# No stream sends it, and it may have some kilobytes.
UNREAD = "metadata"


@dataclass(frozen=True, kw_only=True, slots=True)
class LastSeen:
    """What the feed knows of a job, to be compared with its row."""

    epoch: str
    revision: int
    liveness: Liveness | None
    is_paused: bool = False
    """The throttle holds back every change but the job's end."""
    batch: str = ""

    @classmethod
    def of(cls, state: State, *, is_paused: bool = False) -> LastSeen:
        if isinstance(state, NoState):
            return cls(epoch="", revision=-1, liveness=None, batch=state.batch)
        job = state.snapshot.job
        return cls(
            epoch=job.epoch,
            revision=job.revision,
            liveness=state.liveness,
            is_paused=is_paused,
            batch=state.batch,
        )

    @property
    def is_missing(self) -> bool:
        return self.revision < 0

    def is_behind(self, job: Job) -> bool:
        return (job.epoch, job.revision) != (self.epoch, self.revision)

    def is_outdated(self, job: Job, now: datetime) -> bool:
        """Is the row to be sent?"""
        if self.is_paused:
            return job.is_finished and self.is_behind(job)
        # Liveness changes without a write: a job may have stalled, or lost its heartbeat.
        return self.is_behind(job) or job.liveness(now) != self.liveness


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What a poll encodes, and which jobs it reads besides those that it names."""

    single: Collection[str] | None = None
    """Jobs to encode for streams of one job; None: all."""
    multi: Collection[str] | None = ()
    """Jobs to encode for streams of many jobs; None: all."""
    ended_since: datetime | None = None
    """Also reads all active jobs, and the newest of those that ended since this time."""
    batches: Collection[str] | None = None
    """Active and ended jobs are read of these batches only; None: of all, and without a batch."""
    sent: Mapping[str, LastSeen] = field(default_factory=dict)
    """Ended jobs that are known already."""
    broken: Collection[str] = ()
    """Unreadable jobs: left out unless they are named."""

    @property
    def parameters(self) -> int:
        """The largest number of parameters that a scan has besides the jobs that it names."""
        return 2 * (len(self.broken) + len(self.batches or ())) + 10

    def of_batches(self, jobs: QuerySet[Job]) -> QuerySet[Job]:
        if self.batches is None:
            return jobs
        # The second condition is that of the index.
        return jobs.filter(batch__in=sorted(self.batches)).exclude(batch="")

    def encode(self, state: JobState) -> JobState:
        job_id = state.snapshot.job.id
        return state.encode(
            single=self.single is None or job_id in self.single,
            multi=self.multi is None or job_id in self.multi,
        )


NAMED_ONLY = Scope()


@dataclass(frozen=True, slots=True)
class Changes:
    states: dict[str, State] = field(default_factory=dict)
    """By job id: only of jobs that have changed."""
    held_back: set[str] = field(default_factory=set)
    """Jobs that have changed while the throttle pauses them."""
    broken: dict[str, Exception] = field(default_factory=dict)
    """The error of each job whose rows cannot be read; its `NoState` gives no reason."""


def read_changes(
    known: Mapping[str, LastSeen | None], now: datetime, scope: Scope = NAMED_ONLY
) -> Changes:
    """One query for all the jobs, and two more if some of them have changed.

    `None` asks for a job's state in any case. Raises Django's database errors.
    """
    changes = Changes()
    poll = _Poll(known=known, now=now, scope=scope, changes=changes)
    is_scan = scope.ended_since is not None
    size = _parameters(reserve=scope.parameters if is_scan else 0)
    # The scan finds the active jobs, which come last and then need not be named.
    job_ids = sorted(known, key=poll.is_active) if is_scan else list(known)
    while job_ids or is_scan:
        asked, rest = job_ids[:size], job_ids[size:]
        poll.read(asked, is_scan=is_scan)
        job_ids = [job_id for job_id in rest if job_id not in poll.seen]
        is_scan = False
    return changes


def _parameters(*, reserve: int = 0) -> int:
    """How many parameters a query may have in addition to the reserved ones."""
    limit = connections[router.db_for_read(Job)].features.max_query_params
    return max(1, limit - reserve) if limit else sys.maxsize


@dataclass(frozen=True, kw_only=True, slots=True)
class _Poll:
    """One call of `read_changes`."""

    known: Mapping[str, LastSeen | None]
    now: datetime
    scope: Scope
    changes: Changes
    seen: set[str] = field(default_factory=set)
    """The jobs whose rows were read."""

    def is_active(self, job_id: str) -> bool:
        """Was it active when it was last read?"""
        at = self.known[job_id]
        return at is not None and at.liveness is not None

    def read(self, job_ids: Sequence[str], *, is_scan: bool) -> None:
        try:
            states = self._states(job_ids, is_scan=is_scan)
        except Exception as error:
            if isinstance(error, DatabaseFailure) and not _is_about_a_row(error):
                raise
            # Otherwise a value of some row cannot be converted, which may raise anything.
            if is_scan:
                job_ids = list(dict.fromkeys([*job_ids, *self._found()]))
            elif len(job_ids) == 1:
                _give_up(job_ids[0], error, self.changes, batch=self._batch_of(job_ids[0]))
                return
            middle = len(job_ids) // 2
            for half in (job_ids[:middle], job_ids[middle:]):
                if half:
                    self.read(half, is_scan=False)
        else:
            self.changes.states.update(states)

    def _states(self, job_ids: Sequence[str], *, is_scan: bool) -> dict[str, State]:
        found = self._wanted(job_ids) if is_scan else rows_by(Job, "pk", job_ids, without=UNREAD)
        jobs = {job.pk: job for job in found}
        self.seen.update(jobs)
        missing = {
            job_id: NoState(missing_frame(job_id), batch=self._batch_of(job_id))
            for job_id in job_ids
            if job_id not in jobs and not self._is_known_missing(job_id)
        }
        moved = []
        for job in jobs.values():
            at = self._at(job)
            if at is None or at.is_outdated(job, self.now):
                moved.append(job)
            elif at.is_behind(job):
                self.changes.held_back.add(job.pk)
        return missing | {job_id: self._state(found) for job_id, found in _snapshots(moved).items()}

    def _state(self, snapshot: Snapshot) -> JobState:
        return self.scope.encode(JobState(snapshot, self.now, self.now))

    def _is_known_missing(self, job_id: str) -> bool:
        at = self.known.get(job_id)
        return at is not None and at.is_missing

    def _batch_of(self, job_id: str) -> str:
        """The batch of a job without a readable row, as it was last seen."""
        at = self.known.get(job_id)
        return "" if at is None else at.batch

    def _at(self, job: Job) -> LastSeen | None:
        return self.known[job.pk] if job.pk in self.known else self.scope.sent.get(job.pk)

    def _wanted(self, job_ids: Sequence[str]) -> QuerySet[Job]:
        """A union of named, active and ended jobs, in which each part uses its index. With OR,
        SQLite uses none.
        """
        jobs = Job.objects.defer(UNREAD).order_by()
        return jobs.filter(pk__in=job_ids).union(
            self._active().order_by(), jobs.filter(pk__in=self._ended())
        )

    def _active(self) -> QuerySet[Job]:
        active = self.scope.of_batches(Job.objects.defer(UNREAD).active())
        return active.exclude(pk__in=self.scope.broken)

    def _ended(self) -> QuerySet[Job, str]:
        ended = self.scope.of_batches(Job.objects.filter(finished_at__gte=self.scope.ended_since))
        newest = ended.exclude(pk__in=self.scope.broken).order_by("-finished_at")
        return newest.values_list("pk", flat=True)[:MAX_ENDED]

    def _found(self) -> Iterator[str]:
        """The ids that a scan finds."""
        yield from self._active().values_list("pk", flat=True)
        yield from self._ended()


def _is_about_a_row(error: DatabaseFailure) -> bool:
    """A value that the driver cannot read, or a damaged page; not a database that is down."""
    return isinstance(error, DataError | InternalError) or "decode" in str(error)  # SQLite's text


def _snapshots(jobs: Sequence[Job]) -> dict[str, Snapshot]:
    size = _parameters()
    snapshots: dict[str, Snapshot] = {}
    for start in range(0, len(jobs), size):
        snapshots |= load_snapshots(jobs[start : start + size])
    return snapshots


def _give_up(job_id: str, error: Exception, changes: Changes, *, batch: str) -> None:
    body = encode_error(job_id, ErrorCode.STREAM_ERROR)
    frame = Frame(body=body, cursor="", percent=0.0, is_final=True)
    changes.states[job_id] = NoState(frame, batch=batch)
    changes.broken[job_id] = error
