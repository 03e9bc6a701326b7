from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ingestion_progress.feed.reading import Known
from ingestion_progress.feed.selections import OVERLAP, bookmark, ended_since
from ingestion_progress.feed.states import State
from ingestion_progress.feed.subscribers import Subscriber
from ingestion_progress.feed.watches import of_batch
from ingestion_progress.frames import Frame

# A job that cannot be read is tried again after this long, at the cost of some queries.
BROKEN_FOR_SECONDS = 60.0


@dataclass(eq=False, kw_only=True, slots=True)
class Look:
    """One reading of all active jobs: for whom, and the ends that it asks for."""

    now: datetime
    clock: float
    told_since: datetime
    """Ends from here on are news to those who watch already, unless they were told."""
    newcomers: dict[Subscriber, datetime | None]
    """From when on they are owed ends; None: they are owed none."""
    owed: dict[str, State] = field(default_factory=dict)
    """Earlier ends, which only newcomers may be owed."""

    @property
    def ended_since(self) -> datetime:
        return min(filter(None, self.newcomers.values()), default=self.told_since)


class Overview:
    """The streams of all active jobs, and what they have been told of jobs that are not.

    While there are such streams every tick reads all active jobs, and the ends since the last
    tick with an overlap: what ended and began in between, or was dated by a slow clock.
    """

    def __init__(self) -> None:
        self.crowd: set[Subscriber] = set()
        """Who has got the first states. One set for ever: watches hold it."""
        self.newcomers: set[Subscriber] = set()
        """Who waits for the next look."""
        self._ended: dict[str, State] = {}
        self._broken: dict[str, tuple[State, float]] = {}
        self._covered_at: datetime | None = None

    @property
    def is_watched(self) -> bool:
        return bool(self.crowd or self.newcomers)

    @property
    def told(self) -> dict[str, Known]:
        return {job_id: Known.of(state) for job_id, state in self._ended.items() if state.snapshot}

    def broken(self, clock: float) -> frozenset[str]:
        """The jobs that are not to be tried now."""
        return frozenset(job_id for job_id, (_, until) in self._broken.items() if clock < until)

    def leave(self, subscriber: Subscriber) -> None:
        self.crowd.discard(subscriber)
        self.newcomers.discard(subscriber)
        if not self.is_watched:
            self._ended, self._broken, self._covered_at = {}, {}, None

    def look(self, now: datetime, clock: float) -> Look:
        told_since = min(self._covered_at or now, now) - OVERLAP
        self._ended = {
            job_id: state
            for job_id, state in self._ended.items()
            if state.ended_at and state.ended_at >= told_since
        }
        newcomers = {
            subscriber: ended_since(subscriber.selection.last_event_id, now)
            for subscriber in self.newcomers
            if subscriber.selection is not None
        }
        return Look(now=now, clock=clock, told_since=told_since, newcomers=newcomers)

    def goes_on(self, job_id: str) -> None:
        """The job is active, perhaps again."""
        self._ended.pop(job_id, None)
        self._broken.pop(job_id, None)

    def ends(self, job_id: str, state: State, *, was_active: bool, look: Look | None) -> None:
        """Tells of a job that has ended or vanished, unless that was told or is too long ago."""
        self._broken.pop(job_id, None)
        ended_at = state.ended_at
        if ended_at is None:
            if was_active:
                self._tell(job_id, state)
        elif was_active or (look is not None and ended_at >= look.told_since):
            told = self._ended.get(job_id)
            self._ended[job_id] = state
            if told is None or told.version != state.version:
                self._tell(job_id, state)
        elif look is not None:
            look.owed[job_id] = state

    def breaks(self, job_id: str, state: State, *, clock: float) -> None:
        """Tells that the job cannot be read."""
        self._ended.pop(job_id, None)
        if job_id not in self._broken:
            self._tell(job_id, state)
        self._broken[job_id] = (state, clock + BROKEN_FOR_SECONDS)

    def complete(
        self, look: Look, active: Iterable[tuple[str, State]], *, not_before: float
    ) -> None:
        """Lets those in for whom the look was, and ends the streams that wait for no more."""
        self._covered_at = look.now
        self._broken = {
            job_id: at for job_id, at in self._broken.items() if at[1] > look.clock
        }  # what was tried again is either readable now or gone
        states = dict(active)
        broken = {job_id: state for job_id, (state, _) in self._broken.items()}
        ended = sorted((look.owed | self._ended).items(), key=_end_of)
        for subscriber, since in look.newcomers.items():
            if subscriber not in self.newcomers:  # it has left meanwhile
                continue
            self.newcomers.discard(subscriber)
            self.crowd.add(subscriber)
            subscriber.not_before = not_before
            late = {job_id: state for job_id, state in ended if since and ended_at(state) >= since}
            owed = _frames_for(subscriber, late)
            subscriber.fill(owed | _frames_for(subscriber, broken), _frames_for(subscriber, states))
            if _is_idle(subscriber, states):
                subscriber.conclude(bookmark(look.now), is_known=since is not None and not owed)
            subscriber.set_ready()
        for subscriber in list(self.crowd):
            if _is_idle(subscriber, states):
                subscriber.conclude(bookmark(look.now), is_known=False)

    def _tell(self, job_id: str, state: State) -> None:
        for subscriber in of_batch(self.crowd, state):
            subscriber.put(job_id, state.joint_frame)


def _frames_for(subscriber: Subscriber, states: Mapping[str, State]) -> dict[str, Frame]:
    selection = subscriber.selection
    return {
        job_id: state.joint_frame
        for job_id, state in states.items()
        if selection is None or selection.admits(state.batch)
    }


def _is_idle(subscriber: Subscriber, active: Mapping[str, State]) -> bool:
    """Does the stream wait for the end of jobs of which none is active?"""
    selection = subscriber.selection
    return (
        selection is not None
        and selection.is_until_idle
        and not any(selection.admits(state.batch) for state in active.values())
    )


def _end_of(item: tuple[str, State]) -> datetime:
    return ended_at(item[1])


def ended_at(state: State) -> datetime:
    assert state.ended_at is not None  # noqa: S101  (for mypy)
    return state.ended_at
