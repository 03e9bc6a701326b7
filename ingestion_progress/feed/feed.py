from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from django.utils import timezone

from ingestion_progress import wakeups
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import InvalidJobId
from ingestion_progress.feed.overview import Overview
from ingestion_progress.feed.partings import (
    DRAIN_SECONDS,
    RETRY_AFTER_AGE_SECONDS,
    RETRY_AFTER_CUT_SECONDS,
    RETRY_AFTER_DRAIN_SECONDS,
    STALLED_AFTER_SECONDS,
    Termination,
    come_back_after,
    stream_age_seconds,
)
from ingestion_progress.feed.poller import Poller
from ingestion_progress.feed.selections import Selection
from ingestion_progress.feed.subscribers import Subscriber
from ingestion_progress.feed.watches import Watch
from ingestion_progress.frames import missing_frame
from ingestion_progress.metrics import FeedCounts
from ingestion_progress.models import clean_job_id

# How long a new stream waits for its first state before it opens without one.
PATIENCE_SECONDS = 5.0
# A stream that nobody has begun to read by then was given up before its response started.
ABANDONED_AFTER_SECONDS = 30.0


class Feed:
    """The one source of frames in a process. To be used in one event loop at a time.

    Three tasks run while there are subscribers: the poller, a listener for hints that wake it
    up, and one tick that keeps all silent streams alive even while a poll hangs.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts = FeedCounts()
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poller: Poller | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._watches: dict[str, Watch] = {}
        self._overview = Overview()
        self._subscribers: set[Subscriber] = set()
        self._many: dict[Subscriber, Selection] = {}
        self._unopened: dict[Subscriber, float] = {}
        self._termination = Termination(self.drain)
        self._draining: asyncio.Task[None] | None = None

    @property
    def subscriber_count(self) -> int:
        return len(self._subscribers)

    @property
    def open_stream_count(self) -> int:
        return sum(subscriber.is_open for subscriber in self._subscribers)

    @property
    def watched_job_count(self) -> int:
        return len(self._watches)

    @property
    def poll_lag_seconds(self) -> float:
        """Since the last successful poll; 0 while nobody watches."""
        return 0.0 if self._poller is None else self._clock() - self._poller.polled_at

    @property
    def is_draining(self) -> bool:
        """The process is about to end."""
        return self._draining is not None

    @property
    def is_failing(self) -> bool:
        """The last poll failed or has hung for too long. False while nobody watches."""
        return self._poller is not None and self._poller.is_failing

    def subscribe(self, job_id: str, *, resume_id: str = "") -> Subscriber:
        """A mailbox that gets the state of the job as soon as it is known, and every change.

        `resume_id` is the one of the state that the client has already. Whoever subscribes
        must unsubscribe.
        """
        loop = asyncio.get_running_loop()
        subscriber = Subscriber(job_id, loop, resume_id=resume_id, counts=self.counts)
        try:
            clean_job_id(job_id)
        except InvalidJobId:
            subscriber.welcome(missing_frame(job_id))
            return subscriber
        if poller := self._enter(subscriber, loop):
            watch = self._watch(job_id, poller)
            watch.join(subscriber, clock=self._clock(), now=timezone.now())
        return subscriber

    def subscribe_to_many(self, selection: Selection) -> Subscriber:
        """A mailbox that gets the states of many jobs, those of all at once that are known."""
        loop = asyncio.get_running_loop()
        subscriber = Subscriber("", loop, selection=selection, counts=self.counts)
        if poller := self._enter(subscriber, loop):
            self._many[subscriber] = selection
            if selection.names is None:
                self._overview.newcomers.add(subscriber)
                poller.welcome_soon()
            for job_id in selection.names or ():
                self._join_many(subscriber, job_id, poller)
        return subscriber

    def _join_many(self, subscriber: Subscriber, job_id: str, poller: Poller) -> None:
        try:
            clean_job_id(job_id)
        except InvalidJobId:
            subscriber.inform(job_id, missing_frame(job_id))
            return
        watch = self._watch(job_id, poller)
        watch.join_many(subscriber, clock=self._clock(), now=timezone.now())

    def _enter(self, subscriber: Subscriber, loop: asyncio.AbstractEventLoop) -> Poller | None:
        """Counts the subscriber in; None: it was told to go, for the process is about to."""
        if self._draining is not None and self._draining.get_loop() is loop:
            subscriber.part(come_back_after(RETRY_AFTER_DRAIN_SECONDS))
            return None
        poller = self._running_poller(loop)
        clock = self._clock()
        subscriber.greeting = come_back_after(RETRY_AFTER_CUT_SECONDS)
        subscriber.ends_at = clock + stream_age_seconds()
        self._subscribers.add(subscriber)
        self._unopened[subscriber] = clock
        return poller

    def _watch(self, job_id: str, poller: Poller) -> Watch:
        watch = self._watches.get(job_id)
        if watch is None:
            watch = self._watches[job_id] = Watch(job_id, self._overview.crowd)
            poller.read_soon(job_id)
        return watch

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forgets the subscriber, and stops with the last one. May be called twice."""
        subscriber.close()
        if subscriber not in self._subscribers:
            return
        self._subscribers.discard(subscriber)
        self._unopened.pop(subscriber, None)
        self._many.pop(subscriber, None)
        if not self._subscribers:
            self._stop()
        elif subscriber.selection is None:
            self._leave(subscriber, (subscriber.job_id,))
        elif subscriber.selection.names is not None:
            self._leave(subscriber, subscriber.selection.names)
        else:
            self._overview.leave(subscriber)
            if not self._overview.is_watched:
                self._leave(subscriber, tuple(self._watches))

    def _leave(self, subscriber: Subscriber, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            if watch := self._watches.get(job_id):
                watch.leave(subscriber)
                if not watch.is_wanted:
                    del self._watches[job_id]

    def drain(self, then: Callable[[], None]) -> None:
        """Ends every stream, and each that comes from now on; calls `then` once all have gone,
        or have had the time to.
        """
        for subscriber in self._subscribers:
            subscriber.part(come_back_after(RETRY_AFTER_DRAIN_SECONDS))
        self._draining = self._start(asyncio.get_running_loop(), self._await_drain(then))

    def part_with_the_old(self, clock: float) -> None:
        """Ends the streams whose time has come, and cancels those that cannot be told."""
        for subscriber in [each for each in self._subscribers if each.ends_at <= clock]:
            if subscriber.is_sealed:  # it was told how it ends, and its client has not taken it
                subscriber.abort()
            elif not self.is_failing:  # nobody could say whether it may come back
                subscriber.part(come_back_after(RETRY_AFTER_AGE_SECONDS))
                subscriber.ends_at = clock + STALLED_AFTER_SECONDS

    def keep_alive(self, clock: float) -> None:
        """Sends comments on silent streams, and looks after those that have not opened."""
        for watch in self._watches.values():
            watch.keep_alive(clock)
        for subscriber, selection in self._many.items():
            if selection.is_silent(subscriber.frames_sent, clock):
                subscriber.keep_alive()
        for subscriber, since in list(self._unopened.items()):
            if subscriber.is_open:
                del self._unopened[subscriber]
            elif clock - since > ABANDONED_AFTER_SECONDS:
                self.unsubscribe(subscriber)
            elif clock - since > PATIENCE_SECONDS:
                subscriber.set_ready()

    def _running_poller(self, loop: asyncio.AbstractEventLoop) -> Poller:
        if self._poller is not None and self._loop is not loop:
            self._leave_old_loop()
        if self._poller is None:
            self._loop = loop
            self._termination.listen(loop)
            self._poller = Poller(
                self._watches, overview=self._overview, clock=self._clock, counts=self.counts
            )
            self._tasks = [
                self._start(loop, self._poller.run()),
                self._start(loop, self._keep_alive()),
                self._start(loop, wakeups.listen(self._poller.look_now, self.counts.wakeups)),
            ]
        return self._poller

    @staticmethod
    def _start(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        # An empty context: that of the request which happens to be the first names its
        # executor and database thread, and both end with it.
        return loop.create_task(work, context=contextvars.Context())

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, conf.keepalive_seconds / 4))
            clock = self._clock()
            self.keep_alive(clock)
            self.part_with_the_old(clock)

    async def _await_drain(self, then: Callable[[], None]) -> None:
        deadline = self._clock() + DRAIN_SECONDS
        while self._subscribers and self._clock() < deadline:  # noqa: ASYNC110  (once per process)
            await asyncio.sleep(0.02)
        for subscriber in list(self._subscribers):
            subscriber.abort()
        await asyncio.sleep(0.1)  # the last bytes leave a server's own buffers
        then()

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._forget()

    def _leave_old_loop(self) -> None:
        """Starts afresh where the event loop was replaced; its tasks ended with it."""
        if self._loop is not None and self._loop.is_running():
            raise RuntimeError("The feed is in use in another event loop of this process.")
        self._forget()

    def _forget(self) -> None:
        if self._poller is not None:
            self._poller.close()
        self._poller = self._loop = None
        self._tasks = []
        self._watches = {}
        self._overview = Overview()
        self._subscribers.clear()
        self._many.clear()
        self._unopened.clear()
