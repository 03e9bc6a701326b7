from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable

from django.utils import timezone

from ingestion_progress.conf import conf
from ingestion_progress.feed.reading import Changes, Known, Reader, read_changes
from ingestion_progress.feed.watches import State, Watch
from ingestion_progress.metrics import FeedCounts

logger = logging.getLogger(__name__)

# New jobs are read at once, but not more often than this: a crowd that arrives together
# is read together.
LOAD_INTERVAL_SECONDS = 0.02
MAX_BACK_OFF_SECONDS = 5.0
# A database that accepts a query and never answers fails without an error. Its thread is given
# up and another one connects afresh, but only so many: they end when the network gives up.
POLL_TIMEOUT_SECONDS = 10.0
MAX_HUNG_READERS = 3


class Poller:
    """Reads the watched jobs at every tick, new ones at once, and publishes what is new."""

    def __init__(
        self,
        watches: dict[str, Watch],
        *,
        clock: Callable[[], float] = time.monotonic,
        counts: FeedCounts | None = None,
    ) -> None:
        self._watches = watches
        self._clock = clock
        self._counts = FeedCounts() if counts is None else counts
        self._reader = Reader()
        self._hung: list[Reader] = []
        self._wake = asyncio.Event()
        self._unread: set[str] = set()
        self._waiting: set[str] = set()
        """Jobs with something that the throttle holds back."""
        self._next_tick_at = self._next_load_at = clock()
        self._failures = 0
        self.polled_at = clock()
        """Clock time of the last success, or of the start."""

    @property
    def is_failing(self) -> bool:
        return self._failures > 0

    def read_soon(self, job_id: str) -> None:
        """Has a job that is watched from now on read before the next tick."""
        self._unread.add(job_id)
        self._wake.set()

    def look_now(self, job_ids: Collection[str] = ()) -> None:
        """Jobs were written, says a hint: those, or some that it does not name."""
        watched = self._watches.keys()
        if hinted := watched & job_ids if job_ids else set(watched):
            self._unread |= hinted
            self._wake.set()

    async def run(self) -> None:
        """Polls until it is cancelled. A failure is logged once, and tried again."""
        while True:
            self._wake.clear()
            try:
                await self._read_what_is_due()
            except Exception as error:  # noqa: BLE001  (nothing may end the streams of a process)
                await self._back_off(error)
                continue
            self._recover()
            self._release_what_is_due()
            await self._sleep()

    def close(self) -> None:
        self._reader.close()

    async def _read_what_is_due(self) -> None:
        clock = self._clock()
        if clock >= self._next_tick_at:
            await self._read(self._watches)
            self._next_tick_at = clock + conf.poll_interval_seconds
        elif self._unread and clock >= self._next_load_at:
            await self._read(self._unread)
        else:
            return
        self._next_load_at = self._clock() + LOAD_INTERVAL_SECONDS

    async def _read(self, job_ids: Iterable[str]) -> None:
        next_tick_at = self._clock() + conf.poll_interval_seconds
        known = {
            job_id: _known(watch, next_tick_at)
            for job_id in job_ids
            if (watch := self._watches.get(job_id))
        }
        # What is asked for from here on may have been written after it was read.
        asked_for, self._unread = self._unread, set()
        if not known:
            return
        try:
            changes = await self._query(known)
        except Exception:
            self._unread |= asked_for
            raise
        for job_id, error in changes.broken.items():
            logger.error("sse_stream_error", exc_info=error, extra={"job_id": job_id})
        for job_id, state in changes.states.items():
            self._offer(job_id, state)

    async def _query(self, known: dict[str, Known | None]) -> Changes:
        since = self._clock()
        try:
            async with asyncio.timeout(POLL_TIMEOUT_SECONDS):
                changes = await self._reader.run(read_changes, known, timezone.now())
        except TimeoutError:
            self._replace_reader()
            raise
        self.polled_at = self._clock()
        self._counts.polls += 1
        self._counts.poll_seconds += self.polled_at - since
        return changes

    def _replace_reader(self) -> None:
        self._hung = [reader for reader in self._hung if reader.is_alive]
        if len(self._hung) < MAX_HUNG_READERS:
            self._reader.close()
            self._hung.append(self._reader)
            self._reader = Reader()

    def _offer(self, job_id: str, state: State) -> None:
        watch = self._watches.get(job_id)
        if watch is None:
            return
        watch.offer(state, self._clock())
        if state.frame.is_final:
            del self._watches[job_id]
        elif watch.is_waiting:
            self._waiting.add(job_id)

    def _release_what_is_due(self) -> None:
        clock = self._clock()
        for job_id in list(self._waiting):
            watch = self._watches.get(job_id)
            if watch is not None:
                watch.release(clock)
            if watch is None or not watch.is_waiting:
                self._waiting.discard(job_id)

    async def _sleep(self) -> None:
        due = [self._next_tick_at]
        due += [self._watches[job_id].due_at for job_id in self._waiting]
        if self._unread:
            due.append(self._next_load_at)
        await self._nap(min(due) - self._clock())

    async def _nap(self, seconds: float) -> None:
        """Returns after so many seconds, or once there is something new to read."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _back_off(self, error: Exception) -> None:
        self._failures += 1
        self._counts.poll_failures += 1
        if self._failures == 1:
            logger.error("feed_poll_failed", exc_info=error, extra={"watched": len(self._watches)})
        await asyncio.sleep(
            min(MAX_BACK_OFF_SECONDS, conf.poll_interval_seconds * 2 ** min(self._failures, 10))
        )

    def _recover(self) -> None:
        if self._failures:
            logger.warning("feed_poll_recovered", extra={"failures": self._failures})
        self._failures = 0


def _known(watch: Watch, next_tick_at: float) -> Known | None:
    if watch.state is None or watch.state.snapshot is None:
        return None
    job = watch.state.snapshot.job
    return Known(
        epoch=job.epoch,
        revision=job.revision,
        liveness=watch.state.liveness,
        is_paused=watch.due_at > next_tick_at,
    )
