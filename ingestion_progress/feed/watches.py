from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ingestion_progress.conf import conf
from ingestion_progress.feed.subscribers import Subscriber
from ingestion_progress.frames import Frame, state_frame
from ingestion_progress.snapshots import Snapshot
from ingestion_progress.statuses import Liveness

# A late joiner gets the last frame as it is, unless its elapsed time would look wrong.
FRESH_FOR_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What was read of a job at one moment, encoded once for all who get it."""

    frame: Frame
    snapshot: Snapshot | None = None
    """None where there is nothing more to say: no such job, or an unreadable one."""
    liveness: Liveness | None = None

    @classmethod
    def of(cls, snapshot: Snapshot, now: datetime) -> State:
        return cls(
            frame=state_frame(snapshot, now),
            snapshot=snapshot,
            liveness=snapshot.job.liveness(now),
        )


@dataclass(eq=False, slots=True)
class Watch:
    """One watched job: its newest state, who gets it, and when it may be sent again.

    All times are seconds of the feed's clock. At most one state per client and throttle
    interval, on the leading and the trailing edge; a final state never waits.
    """

    job_id: str
    subscribers: set[Subscriber] = field(default_factory=set)
    state: State | None = None
    """The last one published."""
    pending: State | None = None
    """A newer one that waits for the throttle."""
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
    def is_waiting(self) -> bool:
        """Is there something to do at `due_at`?"""
        return self.pending is not None or bool(self.held)

    def join(self, subscriber: Subscriber, *, clock: float, now: datetime) -> None:
        """Adds a subscriber; it gets the state that is known at once."""
        self.subscribers.add(subscriber)
        if self.state is None:
            return
        if clock - self.encoded_at > FRESH_FOR_SECONDS and self.state.snapshot:
            self.state = State.of(self.state.snapshot, now)
            self.encoded_at = clock
        subscriber.welcome(self.state.frame, not_before=clock + conf.throttle_seconds)

    def leave(self, subscriber: Subscriber) -> None:
        self.subscribers.discard(subscriber)
        self.held.discard(subscriber)

    def offer(self, state: State, clock: float) -> None:
        """Publishes the state now or, if that would be too soon, at `due_at`."""
        if state.frame.is_final or self.state is None or clock >= self.due_at:
            self._publish(state, clock)
        else:
            self.pending = state

    def release(self, clock: float) -> None:
        """Sends what has waited, once the time has come."""
        if clock < self.due_at:
            return
        if self.pending is not None:
            self._publish(self.pending, clock)
        elif self.state is not None:
            held, self.held = self.held, set()
            for subscriber in held:
                subscriber.put(self.job_id, self.state.frame)

    def keep_alive(self, clock: float) -> None:
        """Sends a comment to all, if they have got nothing for too long."""
        if clock - self.sent_at < conf.keepalive_seconds:
            return
        self.sent_at = clock
        for subscriber in self.subscribers:
            subscriber.keep_alive()

    def _publish(self, state: State, clock: float) -> None:
        is_first, frame = self.state is None, state.frame
        self.state, self.pending, self.held = state, None, set()
        self.published_at = self.encoded_at = self.sent_at = clock
        for subscriber in self.subscribers:
            if is_first:
                subscriber.welcome(frame)
            elif subscriber.not_before > clock and not frame.is_final:
                self.held.add(subscriber)
            else:
                subscriber.put(self.job_id, frame)
