"""The subscriptions of this process; starts and stops everything else."""

import asyncio
import functools
import random
import time
from collections.abc import Callable

from ingestion_progress import wakeups
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import InvalidJobId
from ingestion_progress.feed.batch_reader import BatchReader
from ingestion_progress.feed.counts import FeedCounts
from ingestion_progress.feed.ending import AlreadyCurrent, EndReason
from ingestion_progress.feed.poller import Poller
from ingestion_progress.feed.selection import Selection
from ingestion_progress.feed.shutdown import (
    STALLED_AFTER_SECONDS,
    Shutdown,
    SigtermHandler,
    end_temporarily,
    start_task,
)
from ingestion_progress.feed.subscription import Subscription
from ingestion_progress.feed.visibility_reader import VisibilityReader
from ingestion_progress.feed.visible_jobs import VisibleJobs
from ingestion_progress.feed.watched_jobs import WatchedJobs
from ingestion_progress.models import clean_job_id
from ingestion_progress.models.clock import database_now
from ingestion_progress.wire.frames import missing_frame, retry_between

AGE_JITTER = 0.1
# Sent when a stream begins, for a connection that is cut later without a closing event.
RETRY_AFTER_CUT_SECONDS = (1.0, 5.0)
# A new stream opens without a state when none is known after this long.
PATIENCE_SECONDS = 5.0
# A stream that is not read by then was abandoned before its response started.
ABANDONED_AFTER_SECONDS = 30.0


class Feed:
    """The one source of frames in a process. To be used in one event loop at a time.

    Three tasks run while there are subscriptions: the poller, a listener for notifications that
    wake it up, and one tick that keeps silent streams alive even while a poll hangs.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts = FeedCounts()
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poller: Poller | None = None
        self._readers: tuple[VisibilityReader | BatchReader, ...] = ()
        self._tasks: list[asyncio.Task[None]] = []
        self._jobs = WatchedJobs()
        self._subscriptions: set[Subscription] = set()
        self._unopened: dict[Subscription, float] = {}
        self._shutdown = Shutdown(self._subscriptions, clock)
        self._sigterm = SigtermHandler(self.drain)

    @property
    def subscriber_count(self) -> int:
        return len(self._subscriptions)

    @property
    def open_stream_count(self) -> int:
        return sum(subscription.is_open for subscription in self._subscriptions)

    @property
    def watched_job_count(self) -> int:
        return len(self._jobs.by_id)

    @property
    def poll_lag_seconds(self) -> float:
        """Time since the last successful poll; 0 while nobody watches."""
        return 0.0 if self._poller is None else self._clock() - self._poller.polled_at

    @property
    def is_draining(self) -> bool:
        """The process is about to stop."""
        return self._shutdown.loop is not None

    @property
    def is_failing(self) -> bool:
        """The last poll failed, or has hung for too long. False while nobody watches."""
        return self._poller is not None and self._poller.is_failing

    async def subscribe(self, selection: Selection) -> Subscription | AlreadyCurrent:
        """Returns once the first state is known, or after `PATIENCE_SECONDS`.

        AlreadyCurrent: the client has the final state already. `unsubscribe` ends a subscription.
        """
        return await self.opened(self.join(selection))

    async def opened(self, subscription: Subscription) -> Subscription | AlreadyCurrent:
        """The second half of `subscribe`."""
        try:
            answer = await subscription.ready
        except BaseException:  # the client disconnected before there was an answer
            self.unsubscribe(subscription)
            raise
        if answer is None:
            return subscription
        self.unsubscribe(subscription)
        return answer

    def join(self, selection: Selection) -> Subscription:
        """The first half of `subscribe`: puts the states that are known into the mailbox."""
        loop = asyncio.get_running_loop()
        subscription = Subscription(selection, loop, counts=self.counts)
        job_ids = selection.job_ids or ()
        if selection.is_single and not self._is_possible(job_ids[0], selection):
            subscription.put(job_ids[0], missing_frame(job_ids[0]))
            return subscription
        poller = self._enter(subscription, loop)
        if poller is None:
            return subscription
        if selection.job_ids is None:
            self._jobs.active.join(subscription)
            poller.scan_soon()
        clock, now = self._clock(), database_now()
        for job_id in job_ids:
            if not self._is_possible(job_id, selection):
                subscription.put(job_id, missing_frame(job_id))
                continue
            if job_id not in self._jobs.by_id:
                self._jobs.watch(job_id)
                poller.read_soon(job_id)
            self._jobs.by_id[job_id].join(subscription, clock=clock, now=now)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Removes the subscription, and stops the feed after the last one. May be called twice."""
        subscription.close()
        if subscription not in self._subscriptions:
            return
        self._subscriptions.discard(subscription)
        self._unopened.pop(subscription, None)
        if self._subscriptions:
            self._jobs.leave(subscription)
        else:
            self._stop()

    def drain(self, then: Callable[[], None]) -> None:
        """Ends every stream, and each that joins from now on, and calls `then`."""
        self._shutdown.begin(then)

    def rotate(self, clock: float) -> None:
        """Ends the streams that have reached their maximum age, and cancels those whose client
        has not read the closing event.
        """
        for subscription in [each for each in self._subscriptions if each.ends_at <= clock]:
            if subscription.is_ending:
                subscription.abort()
            elif not self.is_failing:  # with the database down the client could not reconnect
                end_temporarily(subscription, EndReason.ROTATION)
                subscription.ends_at = clock + STALLED_AFTER_SECONDS

    def keep_alive(self, clock: float) -> None:
        """Sends keep-alives on silent streams, and opens or drops those that wait for too long."""
        self._jobs.keep_alive(clock, conf.keepalive_seconds)
        for subscription, since in list(self._unopened.items()):
            if subscription.is_open:
                del self._unopened[subscription]
            elif clock - since > ABANDONED_AFTER_SECONDS:
                self.unsubscribe(subscription)
            elif clock - since > PATIENCE_SECONDS:
                subscription.set_ready()

    def restrict(self, subscription: Subscription, visible: VisibleJobs | frozenset[str]) -> None:
        """Takes what the project's rule shows now, or which named jobs it hides."""
        if isinstance(visible, VisibleJobs):
            self._jobs.apply(self._jobs.active.by_rule.replace(subscription, visible))
        else:
            self._jobs.hide(subscription, visible)

    def _is_possible(self, job_id: str, selection: Selection) -> bool:
        if job_id in selection.hidden:
            return False
        try:
            return job_id in self._jobs.by_id or bool(clean_job_id(job_id))
        except InvalidJobId:
            return False

    def _enter(self, subscription: Subscription, loop: asyncio.AbstractEventLoop) -> Poller | None:
        """Adds the subscription; None: the process is about to stop, and the stream ends."""
        if self._shutdown.loop is loop:
            end_temporarily(subscription, EndReason.SHUTDOWN)
            return None
        poller = self._running_poller(loop)
        clock = self._clock()
        subscription.output.retry = retry_between(RETRY_AFTER_CUT_SECONDS)
        subscription.ends_at = clock + stream_age_seconds()
        self._subscriptions.add(subscription)
        self._unopened[subscription] = clock
        return poller

    def _running_poller(self, loop: asyncio.AbstractEventLoop) -> Poller:
        if self._poller is not None and self._loop is not loop:
            self._leave_old_loop()
        if self._poller is None:
            self._loop = loop
            self._sigterm.listen(loop)
            self._poller = Poller(self._jobs, clock=self._clock, counts=self.counts)
            listener = wakeups.listen(self._poller.on_notification, self.counts.wakeups)
            self._readers = (VisibilityReader(self._jobs), BatchReader(self._jobs))
            readers = (each.run() for each in self._readers)
            work = (self._poller.run(), self._keep_alive(), listener, *readers)
            self._tasks = [start_task(loop, each) for each in work]
        return self._poller

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, conf.keepalive_seconds / 4))
            clock = self._clock()
            self.keep_alive(clock)
            self.rotate(clock)

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._forget()

    def _leave_old_loop(self) -> None:
        """Starts again after the event loop was replaced; the tasks ended with the old loop."""
        if self._loop is not None and self._loop.is_running():
            raise RuntimeError("The feed is in use in another event loop of this process.")
        self._forget()

    def _forget(self) -> None:
        if self._poller is not None:
            self._poller.close()
        for each in self._readers:
            each.close()
        self._poller, self._loop, self._readers, self._tasks = None, None, (), []
        self._jobs = WatchedJobs()
        self._subscriptions.clear()
        self._unopened.clear()


@functools.cache
def get_feed() -> Feed:
    """The feed of this process, created on first use."""
    return Feed()


def stream_age_seconds() -> float:
    """The maximum age of a stream that begins now."""
    jitter = random.uniform(1 - AGE_JITTER, 1 + AGE_JITTER)  # noqa: S311  (no secret)
    return conf.max_stream_seconds * jitter
