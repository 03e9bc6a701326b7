"""The streams of all active jobs, and what was sent to them about jobs that are not active."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

from ingestion_progress.feed.job_state import JobState, NoState, State, cursor_at, in_order_of_ends
from ingestion_progress.feed.queries import LastSeen
from ingestion_progress.feed.selection import OVERLAP
from ingestion_progress.feed.subscription import Subscription
from ingestion_progress.feed.visibility import Visibility
from ingestion_progress.feed.watched_job import including
from ingestion_progress.wire.frames import Frame

# A job that cannot be read is tried again after this long, at the cost of some queries.
BROKEN_FOR_SECONDS = 60.0
# If streams show more batches than this, all active jobs are read.
MAX_BATCHES_READ = 100


@dataclass(eq=False, kw_only=True, slots=True)
class Scan:
    """One read of all active jobs: the new streams that it serves, and the ends that it queries."""

    now: datetime
    clock: float
    sent_since: datetime
    """Open streams receive the ends since this time, unless they were sent already."""
    joining: dict[Subscription, datetime | None]
    """New streams, with the time since which each receives ends; None: it receives none."""
    batches: frozenset[str] | None = None
    """The batches of all streams; None if one of them shows all jobs, or if they are many."""
    missed: dict[str, State] = field(default_factory=dict)
    """Earlier ends, which only a stream that resumes may have missed."""

    @property
    def ended_since(self) -> datetime:
        return min([self.sent_since, *filter(None, self.joining.values())])


class ActiveJobs:
    """The jobs of streams of all active jobs, or of all in a batch.

    While such streams are open, every tick scans the active jobs (only those of the batches, if
    each stream has one), and the jobs that ended since the last scan. The scans overlap, because an
    end is visible only after its COMMIT.
    """

    def __init__(self) -> None:
        self.subscribers: set[Subscription] = set()
        """Streams without a rule that have their first states. Never replaced: watched jobs refer
        to this set.
        """
        self.by_rule = Visibility()
        """The streams that a rule of the project restricts."""
        self.joining: set[Subscription] = set()
        """Streams that wait for the next scan."""
        self._sent: dict[str, State] = {}
        """Jobs that ended in the last minute and whose end was sent."""
        self._broken: dict[str, tuple[NoState, float]] = {}
        """Jobs that cannot be read, and the clock time until which they are not read again."""
        self._covered_at: datetime | None = None

    @property
    def sent(self) -> dict[str, LastSeen]:
        return {
            job_id: LastSeen.of(state)
            for job_id, state in self._sent.items()
            if isinstance(state, JobState)
        }

    def broken(self, clock: float) -> frozenset[str]:
        """The jobs that are not to be read now."""
        return frozenset(job_id for job_id, (_, until) in self._broken.items() if clock < until)

    @property
    def has_streams(self) -> bool:
        return bool(self.subscribers or self.joining or self.by_rule)

    def streams(self) -> set[Subscription]:
        """All that are open or joining."""
        return self.subscribers.union(self.joining, self.by_rule.members())

    def join(self, subscription: Subscription) -> None:
        """Adds a stream, which gets its first states with the next scan."""
        self.joining.add(subscription)
        if (visible := subscription.selection.visible) is not None:
            self.by_rule.enter(subscription, visible)

    def leave(self, subscription: Subscription) -> None:
        self.subscribers.discard(subscription)
        self.joining.discard(subscription)
        self.by_rule.leave(subscription)
        if not self.has_streams:
            self._sent, self._broken, self._covered_at = {}, {}, None

    def scan(self, now: datetime, clock: float) -> Scan:
        sent_since = min(self._covered_at or now, now) - OVERLAP
        self._sent = {
            job_id: state
            for job_id, state in self._sent.items()
            if state.ended_at and state.ended_at >= sent_since
        }
        joining = {each: each.selection.ended_since(now) for each in self.joining}
        return Scan(
            now=now, clock=clock, sent_since=sent_since, joining=joining, batches=self._batches()
        )

    def shows(self, batch: str) -> bool:
        """Does a stream of active jobs show exactly this batch (empty: all jobs)?"""
        return any(each.selection.batch == batch for each in self._unordered())

    def _batches(self) -> frozenset[str] | None:
        batches = {each.selection.batch for each in self._unordered()}
        return None if "" in batches or len(batches) > MAX_BATCHES_READ else frozenset(batches)

    def _unordered(self) -> Iterator[Subscription]:
        return chain(self.subscribers, self.joining, self.by_rule.members())

    def ended_lately(self, job_id: str) -> State | None:
        """The end of a job that was sent in the last minute."""
        return self._sent.get(job_id)

    def job_active(self, job_id: str) -> None:
        """The job is active, perhaps again."""
        self._sent.pop(job_id, None)
        self._broken.pop(job_id, None)

    def job_ended(self, job_id: str, state: State, *, was_active: bool, scan: Scan | None) -> None:
        """Sends the end of a job that has ended or vanished, unless it was sent or is too old."""
        self._broken.pop(job_id, None)
        ended_at = state.ended_at
        if ended_at is None:
            if was_active:
                self._send(job_id, state)
        elif was_active or (scan is not None and ended_at >= scan.sent_since):
            sent = self._sent.get(job_id)
            self._sent[job_id] = state
            if sent is None or sent.version != state.version:
                self._send(job_id, state)
        elif scan is not None:
            scan.missed[job_id] = state

    def job_unreadable(self, job_id: str, state: NoState, *, clock: float) -> None:
        """Sends that the job cannot be read."""
        self._sent.pop(job_id, None)
        if job_id not in self._broken:
            self._send(job_id, state)
        self._broken[job_id] = (state, clock + BROKEN_FOR_SECONDS)

    def complete(self, scan: Scan, states: Mapping[str, State], *, not_before: float) -> None:
        """Sends initial states to the new streams, and closes those that wait for no job."""
        self._covered_at = scan.now
        self._broken = {
            job_id: at for job_id, at in self._broken.items() if at[1] > scan.clock
        }  # the others were read again: they are readable now, or deleted
        broken = {job_id: state for job_id, (state, _) in self._broken.items()}
        ended = in_order_of_ends(scan.missed | self._sent)
        for subscription, since in scan.joining.items():
            if subscription not in self.joining:  # it was closed meanwhile
                continue
            self._start(subscription)
            subscription.not_before = not_before
            late = {job_id: each for job_id, each in ended if since and each.active_until >= since}
            missed = _frames_for(subscription, late)
            ends = missed | _frames_for(subscription, broken)
            subscription.fill(ends, _frames_for(subscription, states))
            if _is_idle(subscription, states):
                is_known = since is not None and not missed
                subscription.end_idle(cursor_at(scan.now), is_known=is_known)
            subscription.set_ready()
        # Streams that still join may show ends that are no longer read.
        self.by_rule.found(states.keys() | self._sent.keys(), are_all=not self.joining)
        for subscription in [*self.subscribers, *self.by_rule.subscribers()]:
            if _is_idle(subscription, states):
                subscription.end_idle(cursor_at(scan.now), is_known=False)

    def _start(self, subscription: Subscription) -> None:
        self.joining.discard(subscription)
        if subscription.selection.visible is None:
            self.subscribers.add(subscription)
        else:
            self.by_rule.start(subscription)

    def _send(self, job_id: str, state: State) -> None:
        streams = chain(self.subscribers, self.by_rule.showing(job_id))
        for subscription in including(streams, state.batch):
            subscription.put(job_id, state.multi_frame)


def _frames_for(subscription: Subscription, states: Mapping[str, State]) -> dict[str, Frame]:
    shows = subscription.selection.shows
    return {
        job_id: state.multi_frame for job_id, state in states.items() if shows(job_id, state.batch)
    }


def _is_idle(subscription: Subscription, active: Mapping[str, State]) -> bool:
    """Is it a stream that ends once none of its jobs is active, and is none active?"""
    selection = subscription.selection
    if not selection.is_until_idle or (selection.visible and selection.visible.is_behind):
        return False
    return not any(selection.shows(job_id, state.batch) for job_id, state in active.items())
