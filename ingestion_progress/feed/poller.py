"""The loop that reads the watched jobs and publishes what has changed."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from ingestion_progress.concurrency.backoff import Backoff
from ingestion_progress.concurrency.worker_thread import WorkerThread
from ingestion_progress.conf import conf
from ingestion_progress.feed.active_jobs import Scan
from ingestion_progress.feed.counts import FeedCounts
from ingestion_progress.feed.job_state import refreshed
from ingestion_progress.feed.queries import Changes, LastSeen, Scope, read_changes
from ingestion_progress.feed.read_schedule import ReadSchedule
from ingestion_progress.feed.watched_jobs import WatchedJobs
from ingestion_progress.models.clock import database_now

logger = logging.getLogger(__name__)

MAX_BACK_OFF_SECONDS = 5.0
POLL_TIMEOUT_SECONDS = 10.0
# Django's default, CONN_MAX_AGE = 0, would connect at every tick: on PostgreSQL 5 ms beside 0.4 ms
# for the query. A connection that is never renewed would miss a replaced database file.
CONNECTION_MAX_AGE_SECONDS = 60.0


class Poller:
    """Reads the watched jobs at every tick, new ones at once, and publishes what has changed."""

    def __init__(
        self,
        jobs: WatchedJobs,
        *,
        counts: FeedCounts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._clock = clock
        self._counts = counts
        self._reader = WorkerThread(
            "ingestion-progress-feed",
            timeout_seconds=POLL_TIMEOUT_SECONDS,
            connection_max_age_seconds=CONNECTION_MAX_AGE_SECONDS,
        )
        self._schedule = ReadSchedule(jobs, clock())
        self._wake = asyncio.Event()
        self._asleep_until = -math.inf
        """Clock time; minus infinity while it is awake."""
        self._backoff = Backoff(
            logger,
            down="feed_poll_failed",
            back="feed_poll_recovered",
            first_seconds=2 * conf.poll_interval_seconds,
            last_seconds=MAX_BACK_OFF_SECONDS,
            level=logging.ERROR,
        )
        self.polled_at = clock()
        """Clock time of the last success, or of the start."""

    @property
    def is_failing(self) -> bool:
        return self._backoff.is_failing

    def read_soon(self, job_id: str) -> None:
        """Has a newly watched job read before the next tick."""
        self._schedule.unread.add(job_id)
        self._wake.set()

    def scan_soon(self) -> None:
        """A stream of all jobs is joining."""
        self._wake.set()

    def on_notification(self, job_ids: Collection[str] = (), ended: Collection[str] = ()) -> None:
        """These jobs were written; empty: jobs that are not named."""
        if self._schedule.notify(job_ids, ended, self._clock()) < self._asleep_until:
            self._wake.set()

    async def run(self) -> None:
        """Polls until it is cancelled. A failed poll is logged once and repeated after a pause."""
        while True:
            self._wake.clear()
            self._schedule.release(self._clock())
            try:
                await self._read_what_is_due()
            except Exception as error:  # noqa: BLE001  (nothing may end the streams of a process)
                self._counts.poll_failures += 1
                self._backoff.failed(error, watched=len(self._jobs.by_id))
                await asyncio.sleep(self._backoff.pause_seconds)
                continue
            self._backoff.succeeded()
            await self._sleep_until(self._schedule.next_at)

    def close(self) -> None:
        self._reader.close()

    async def _read_what_is_due(self) -> None:
        clock, schedule = self._clock(), self._schedule
        is_tick = schedule.is_tick(clock)
        if is_tick or schedule.is_scan(clock):
            await self._read(schedule.jobs_of_tick(clock), is_scan=True)
            schedule.ticked(clock)
        elif schedule.is_load(clock):
            if not self._jobs.are_all_watched and schedule.unread >= self._jobs.by_id.keys():
                schedule.ticked(clock)
            await self._read(schedule.unread)
        else:
            return
        schedule.loaded(clock, self._clock(), is_tick=is_tick)

    async def _read(self, job_ids: Iterable[str], *, is_scan: bool = False) -> None:
        clock, jobs, schedule = self._clock(), self._jobs, self._schedule
        known = jobs.last_seen(job_ids, clock)
        # A job that is added from here on may be written after this read, and is read again.
        asked_for, schedule.unread = schedule.unread, set()
        now, scan, was_scan_due = database_now(), None, schedule.is_scan_due
        if is_scan:
            schedule.is_scan_due = False
            if jobs.are_all_watched:
                scan = jobs.active.scan(now, clock)
        if not known and scan is None:
            return
        try:
            changes = await self._query(known, now, jobs.scope(known, scan))
        except Exception:
            schedule.unread |= asked_for
            schedule.is_scan_due |= was_scan_due
            raise
        jobs.publish(changes, scan, self._clock())
        read = jobs.by_id.keys() & (known.keys() | changes.states.keys())
        schedule.waiting |= {job_id for job_id in read if jobs.by_id[job_id].is_waiting}
        if scan is not None:
            await self._complete(scan)

    async def _complete(self, scan: Scan) -> None:
        """Sends the states of all active jobs to new streams, with current elapsed times."""
        clock = self._clock()
        if scan.joining:
            self._schedule.joined(clock)
            stale = self._jobs.stale(clock)
            fresh = await self._reader.run(refreshed, stale, database_now(), scan.now)
            self._jobs.replace(stale, fresh, clock)
        self._jobs.complete(scan, clock)

    async def _query(
        self, known: dict[str, LastSeen | None], now: datetime, scope: Scope
    ) -> Changes:
        since = self._clock()
        changes = await self._reader.run(read_changes, known, now, scope)
        self.polled_at = self._clock()
        self._counts.polls += 1
        self._counts.poll_seconds += self.polled_at - since
        return changes

    async def _sleep_until(self, clock: float) -> None:
        """Returns at that clock time, or once there is something new to read."""
        self._asleep_until = clock
        try:
            async with asyncio.timeout(max(0.0, clock - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            pass
        finally:
            self._asleep_until = -math.inf
