"""One watched job: its newest state, who receives it, and when it may be sent again."""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

from ingestion_progress.conf import conf
from ingestion_progress.feed.job_state import JobState, State
from ingestion_progress.feed.subscription import Subscription
from ingestion_progress.feed.visibility import Visibility

# A late subscriber gets the last frame as it is, unless its elapsed time would look wrong.
FRESH_FOR_SECONDS = 1.0


def including(subscriptions: Iterable[Subscription], batch: str) -> Iterator[Subscription]:
    """The streams that show jobs of this batch. `subscriptions`: streams of active jobs."""
    return (each for each in subscriptions if each.selection.includes(batch))


@dataclass(eq=False, slots=True)
class WatchedJob:
    """The throttle of one job: at most one state per client and interval, on the leading and the
    trailing edge; a final state never waits. All times are seconds of the feed's clock.
    """

    job_id: str
    all_jobs: AbstractSet[Subscription] = frozenset()
    """The streams of active jobs: one set for all watched jobs. `ActiveJobs` sends them ends."""
    by_rule: Visibility | None = None
    """Streams of active jobs that a rule of the project restricts."""
    subscribers: set[Subscription] = field(default_factory=set)
    """The streams that name this job."""
    state: State | None = None
    """The newest published state."""
    is_behind: bool = False
    """A newer state exists, which the throttle holds back; it is read at `due_at`."""
    held: set[Subscription] = field(default_factory=set)
    """Subscribers that the throttle still held back at the last publication."""
    published_at: float = 0.0
    encoded_at: float = 0.0
    _single_count: int = 0

    @property
    def due_at(self) -> float:
        """When the next state may be published."""
        return self.published_at + conf.throttle_seconds

    @property
    def has_single(self) -> bool:
        """Does a stream of this job alone need frames?"""
        return self._single_count > 0

    @property
    def has_named(self) -> bool:
        """Does a stream of several jobs name this one?"""
        return len(self.subscribers) > self._single_count

    @property
    def is_active(self) -> bool:
        return self.state is not None and not self.state.is_final

    @property
    def is_wanted(self) -> bool:
        """Does anybody watch?"""
        return bool(self.subscribers) or (self.is_active and self._is_in_a_stream_of_many)

    @property
    def _is_in_a_stream_of_many(self) -> bool:
        batch = "" if self.state is None else self.state.batch
        return any(True for _ in self._streams_of_many(batch))

    def _streams_of_many(self, batch: str) -> Iterator[Subscription]:
        by_rule = self.by_rule.showing(self.job_id) if self.by_rule else ()
        return including(chain(self.all_jobs, by_rule), batch)

    @property
    def is_waiting(self) -> bool:
        """Is there something to do at `due_at`?"""
        return self.is_behind or bool(self.held)

    def join(self, subscription: Subscription, *, clock: float, now: datetime) -> None:
        """Adds a subscriber, and sends it the state that is known."""
        self.subscribers.add(subscription)
        self._single_count += subscription.selection.is_single
        if self.state is None:
            return
        if isinstance(self.state, JobState) and self.is_stale(clock):
            self.state = self.state.with_clocks_at(now)
            self.encoded_at = clock
        if subscription.put(self.job_id, subscription.selection.frame_of(self.state)):
            subscription.not_before = clock + conf.throttle_seconds

    def leave(self, subscription: Subscription) -> None:
        if subscription in self.subscribers:
            self.subscribers.discard(subscription)
            self._single_count -= subscription.selection.is_single
        self.held.discard(subscription)

    def is_stale(self, clock: float) -> bool:
        """Would the elapsed time of an unfinished job look wrong by now?"""
        return self.is_active and clock - self.encoded_at > FRESH_FOR_SECONDS

    def needs_encoding(self, clock: float) -> bool:
        """Is a multi-job frame missing, or are its clocks wrong by now?"""
        is_encoded = self.state is not None and self.state.has_multi_frame
        return self.is_active and (not is_encoded or self.is_stale(clock))

    def is_paused(self, clock: float) -> bool:
        """Does the throttle hold back a change that is not the job's end?"""
        return self.state is not None and clock < self.due_at

    def offer(self, state: State, clock: float) -> None:
        """Publishes the state, or has it read again at `due_at` if the throttle holds it back."""
        if state.is_final or not self.is_paused(clock):
            self._publish(state, clock)
        else:
            self.is_behind = True

    def is_to_be_read(self, clock: float) -> bool:
        """Is it time to read what the throttle held back?"""
        return self.is_behind and clock >= self.due_at

    def release(self, clock: float) -> None:
        """Sends the state to the held subscribers, once their interval is over."""
        if clock >= self.due_at and not self.is_behind and self.state is not None:
            held, self.held = self.held, set()
            for subscription in held:
                subscription.put(self.job_id, subscription.selection.frame_of(self.state))

    def keep_alive(self, clock: float, after_seconds: float) -> None:
        """Sends keep-alives to silent subscribers; after a publication none of them is silent."""
        if clock - self.published_at < after_seconds:
            return
        for subscription in self.subscribers:
            sent_at = self.published_at if subscription.is_single else clock
            subscription.keep_alive(clock, after_seconds, sent_at)

    def _publish(self, state: State, clock: float) -> None:
        is_urgent = self.state is None or state.is_final
        self.state, self.is_behind, self.held = state, False, set()
        self.published_at = self.encoded_at = clock
        job_id = self.job_id
        # Looked up once, not per viewer.
        single = state.single_frame if self.has_single else state.multi_frame
        multi = state.multi_frame if self.has_named or self.all_jobs or self.by_rule else single
        others = () if state.is_final else self._streams_of_many(state.batch)
        for subscription in chain(self.subscribers, others):
            if is_urgent or subscription.not_before <= clock:
                subscription.put(job_id, single if subscription.is_single else multi)
            else:
                self.held.add(subscription)
