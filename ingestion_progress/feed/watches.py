from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain

from ingestion_progress.conf import conf
from ingestion_progress.feed.states import State
from ingestion_progress.feed.subscribers import Subscriber

# A late joiner gets the last frame as it is, unless its elapsed time would look wrong.
FRESH_FOR_SECONDS = 1.0


def of_batch(crowd: Iterable[Subscriber], state: State) -> Iterator[Subscriber]:
    """Those of a crowd who watch all jobs, or the batch of this one."""
    for subscriber in crowd:
        if subscriber.selection is None or subscriber.selection.admits(state.batch):
            yield subscriber


@dataclass(eq=False, slots=True)
class Watch:
    """One watched job: its newest state, who gets it, and when it may be sent again.

    All times are seconds of the feed's clock. At most one state per client and throttle
    interval, on the leading and the trailing edge; a final state never waits.
    """

    job_id: str
    crowd: AbstractSet[Subscriber] = frozenset()
    """Who watches all active jobs: one set for all watches. It hears of ends elsewhere."""
    subscribers: set[Subscriber] = field(default_factory=set)
    """Streams of this job alone."""
    named_by: set[Subscriber] = field(default_factory=set)
    """Streams of several jobs, this one among them."""
    state: State | None = None
    """The last one published."""
    is_behind: bool = False
    """There is a newer one: the throttle holds it back, and it is read when it may be sent."""
    held: set[Subscriber] = field(default_factory=set)
    """Who came too shortly before the last publication to get it at once."""
    published_at: float = 0.0
    encoded_at: float = 0.0
    sent_at: float = 0.0
    """When everybody got something last, a comment included."""

    @property
    def due_at(self) -> float:
        """When the next state may be published."""
        return self.published_at + conf.throttle_seconds

    @property
    def is_wanted(self) -> bool:
        """Does anybody watch?"""
        is_active = self.state is not None and not self.state.is_final
        return bool(self.subscribers or self.named_by or (self.crowd and is_active))

    @property
    def is_waiting(self) -> bool:
        """Is there something to do at `due_at`?"""
        return self.is_behind or bool(self.held)

    def join(self, subscriber: Subscriber, *, clock: float, now: datetime) -> None:
        """Adds a subscriber; it gets the state that is known at once."""
        self.subscribers.add(subscriber)
        if state := self._fresh_state(clock, now):
            subscriber.welcome(state.frame, not_before=clock + conf.throttle_seconds)

    def join_many(self, subscriber: Subscriber, *, clock: float, now: datetime) -> None:
        """The same for a stream that names this job among others."""
        self.named_by.add(subscriber)
        if state := self._fresh_state(clock, now):
            subscriber.not_before = clock + conf.throttle_seconds
            subscriber.inform(self.job_id, state.joint_frame)

    def leave(self, subscriber: Subscriber) -> None:
        self.subscribers.discard(subscriber)
        self.named_by.discard(subscriber)
        self.held.discard(subscriber)

    def is_stale(self, clock: float) -> bool:
        """Would the elapsed time of an unfinished job look wrong by now?"""
        is_active = self.state is not None and not self.state.is_final
        return is_active and clock - self.encoded_at > FRESH_FOR_SECONDS

    def needs_encoding(self, clock: float) -> bool:
        """Is there no frame that somebody could get who watches all jobs from now on?"""
        is_active = self.state is not None and not self.state.is_final
        is_encoded = self.state is not None and self.state.is_encoded_jointly
        return is_active and (not is_encoded or self.is_stale(clock))

    def _fresh_state(self, clock: float, now: datetime) -> State | None:
        if self.state is not None and self.state.snapshot is not None and self.is_stale(clock):
            covered_at = self.state.covered_at
            self.state = State.of(self.state.snapshot, now, covered_at=covered_at)
            self.encoded_at = clock
        return self.state

    def offer(self, state: State, clock: float) -> None:
        """Publishes the state; one that comes too soon is left to be read again at `due_at`."""
        if state.is_final or self.state is None or clock >= self.due_at:
            self._publish(state, clock)
        else:
            self.is_behind = True

    def is_to_be_read(self, clock: float) -> bool:
        """Has the time come for what the throttle holds back?"""
        return self.is_behind and clock >= self.due_at

    def release(self, clock: float) -> None:
        """Sends the state to those who came too soon before it, once the time has come."""
        if clock >= self.due_at and not self.is_behind and self.state is not None:
            held, self.held = self.held, set()
            for subscriber in held:
                if subscriber.selection is None:
                    subscriber.put(self.job_id, self.state.frame)
                else:
                    subscriber.inform(self.job_id, self.state.joint_frame)

    def keep_alive(self, clock: float) -> None:
        """Sends a comment to all, if they have got nothing for too long."""
        if clock - self.sent_at < conf.keepalive_seconds:
            return
        self.sent_at = clock
        for subscriber in self.subscribers:
            subscriber.keep_alive()

    def _publish(self, state: State, clock: float) -> None:
        is_first = self.state is None
        self.state, self.is_behind, self.held = state, False, set()
        self.published_at = self.encoded_at = self.sent_at = clock
        if self.subscribers:
            self._publish_singly(state, clock, is_first=is_first)
        for subscriber in self._many(state):
            if subscriber.not_before > clock and not (is_first or state.is_final):
                self.held.add(subscriber)
            else:
                subscriber.inform(self.job_id, state.joint_frame)

    def _publish_singly(self, state: State, clock: float, *, is_first: bool) -> None:
        frame = state.frame
        for subscriber in self.subscribers:
            if is_first:
                subscriber.welcome(frame)
            elif subscriber.not_before > clock and not frame.is_final:
                self.held.add(subscriber)
            else:
                subscriber.put(self.job_id, frame)

    def _many(self, state: State) -> Iterator[Subscriber]:
        return chain(self.named_by, () if state.is_final else of_batch(self.crowd, state))
