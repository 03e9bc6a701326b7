"""Many jobs, looked at again and again: what is news, who is active, and how the others ended."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from django.db.models import Count
from django.utils import timezone

from ingestion_progress.exceptions import JobNotFound
from ingestion_progress.feed import Selection
from ingestion_progress.feed.job_state import NEVER, JobState, State
from ingestion_progress.feed.queries import LastSeen, Scope, read_changes
from ingestion_progress.feed.selection import OVERLAP
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus, Liveness
from ingestion_progress.wire.snapshots import Snapshot

ACTIVE, DELETED, UNREADABLE = "active", "deleted", "unreadable"

News = dict[str, Snapshot | None]
"""By job id, ends first and in their order; None: the job was deleted or cannot be read."""


class Lookout:
    """The jobs of a selection: those that are named, or all that are active, some of a batch.

    What it keeps grows with the jobs that are active and with those that did not succeed.
    """

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.active: dict[str, Snapshot] = {}
        """What was last seen of each."""
        self.unsuccessful: dict[str, str] = {}
        """By id, how each that was watched ended or got lost from sight."""
        self._succeeded = 0
        self._known: dict[str, LastSeen | None] = dict.fromkeys(selection.job_ids or ())
        """What the next look asks for by id: the named, or all that are active."""
        self._ended: dict[str, State] = {}
        """Of those that were not named: ends that the next look finds again."""
        self._broken: set[str] = set()
        self._looked_at: datetime | None = None

    @property
    def is_idle(self) -> bool:
        """Is there no job left to wait for?"""
        return all(has_no_future(snapshot) for snapshot in self.active.values())

    def look(self) -> News:
        """One query, and two more where there is news. Raises JobNotFound for the first look's
        named jobs that do not exist.
        """
        now, is_first = timezone.now(), self._looked_at is None
        changes = read_changes(self._known, now, self._scope(now))
        if is_first and self.selection.job_ids is not None:
            _check_found(changes.states, changes.broken)
        self._looked_at = now
        self._broken.update(changes.broken)
        news: News = {}
        for job_id, state in sorted(changes.states.items(), key=_end_and_beginning):
            self._remember(job_id, state)
            is_past = self._is_past(job_id, state, is_first=is_first)
            if self.selection.includes(state.batch) and not is_past:
                self._count(job_id, snapshot_of(state))
                news[job_id] = snapshot_of(state)
        return news

    def tally(self) -> Counter[str]:
        """How many stand how; of a batch with those that ended before anybody looked."""
        ended = Counter(self.unsuccessful.values())
        ended[JobStatus.SUCCEEDED.value] = self._succeeded
        if self.selection.batch:
            of_batch = Job.objects.of_batch(self.selection.batch).finished().order_by()
            ended = Counter({word: ended[word] for word in (DELETED, UNREADABLE)})
            ended.update(dict(of_batch.values_list("status").annotate(Count("pk"))))
        ended[Liveness.LOST.value] += sum(map(has_no_future, self.active.values()))
        ended[ACTIVE] = sum(not has_no_future(each) for each in self.active.values())
        return +ended

    def _scope(self, now: datetime) -> Scope:
        told_since = (self._looked_at or now) - OVERLAP
        self._ended = {
            job_id: state
            for job_id, state in self._ended.items()
            if state.active_until >= told_since
        }
        return Scope(
            single=(),
            ended_since=told_since if self.selection.job_ids is None else None,
            sent={job_id: LastSeen.of(state) for job_id, state in self._ended.items()},
            broken=self._broken,
        )

    def _is_past(self, job_id: str, state: State, *, is_first: bool) -> bool:
        """Is this no news: deleted after its end, or not named and ended before this began?"""
        if not isinstance(state, JobState):
            return job_id not in self.active and job_id not in self._broken
        return is_first and self.selection.job_ids is None and state.snapshot.job.is_finished

    def _remember(self, job_id: str, state: State) -> None:
        """What the next look compares with, whoever's job it is."""
        self._known.pop(job_id, None)
        self._ended.pop(job_id, None)
        if job_id in self._broken:
            return
        if self.selection.job_ids is not None or not state.is_final:
            self._known[job_id] = LastSeen.of(state)
        elif isinstance(state, JobState):
            self._ended[job_id] = state

    def _count(self, job_id: str, snapshot: Snapshot | None) -> None:
        self.active.pop(job_id, None)
        self.unsuccessful.pop(job_id, None)  # it may be a new attempt
        if snapshot is None:
            self.unsuccessful[job_id] = UNREADABLE if job_id in self._broken else DELETED
        elif not snapshot.job.is_finished:
            self.active[job_id] = snapshot
        elif snapshot.job.job_status is JobStatus.SUCCEEDED:
            self._succeeded += 1
        else:
            self.unsuccessful[job_id] = snapshot.job.status


def has_no_future(snapshot: Snapshot) -> bool:
    """Ended without success, or running without a sign of life: nobody need wait any longer."""
    job = snapshot.job
    return (job.is_finished and job.job_status is not JobStatus.SUCCEEDED) or (
        job.liveness(timezone.now()) is Liveness.LOST
    )


def in_words(tally: Counter[str]) -> str:
    """The tally in one line."""
    words = (ACTIVE, *JobStatus.values, DELETED, UNREADABLE)
    return ", ".join(f"{tally[word]} {word}" for word in words if word in tally)


def snapshot_of(state: State) -> Snapshot | None:
    return state.snapshot if isinstance(state, JobState) else None


def _check_found(states: dict[str, State], broken: dict[str, Exception]) -> None:
    missing = [
        job_id
        for job_id, state in states.items()
        if not isinstance(state, JobState) and job_id not in broken
    ]
    if missing:
        raise JobNotFound(", ".join(missing))


def _end_and_beginning(item: tuple[str, State]) -> tuple[datetime, datetime]:
    _, state = item
    snapshot = snapshot_of(state)
    return state.active_until, snapshot.job.created_at if snapshot else NEVER
