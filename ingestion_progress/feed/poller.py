"""The loop that reads the watched jobs and publishes what has changed."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from django.utils import timezone

from ingestion_progress.conf import conf
from ingestion_progress.feed.active_jobs import ActiveJobs, Scan
from ingestion_progress.feed.counts import FeedCounts
from ingestion_progress.feed.job_state import JobState, NoState, State, refreshed
from ingestion_progress.feed.queries import Changes, LastSeen, Scope, read_changes
from ingestion_progress.feed.read_schedule import LOAD_INTERVAL_SECONDS, ReadSchedule
from ingestion_progress.feed.reader import patient_reader
from ingestion_progress.feed.watched_job import WatchedJob

logger = logging.getLogger(__name__)

MAX_BACK_OFF_SECONDS = 5.0


class Poller:
    """Reads the watched jobs at every tick, new ones at once, and publishes what is new."""

    def __init__(
        self,
        jobs: dict[str, WatchedJob],
        *,
        active_jobs: ActiveJobs | None = None,
        clock: Callable[[], float] = time.monotonic,
        counts: FeedCounts | None = None,
    ) -> None:
        self._jobs = jobs
        self._active_jobs = ActiveJobs() if active_jobs is None else active_jobs
        self._clock = clock
        self._counts = FeedCounts() if counts is None else counts
        self._reader = patient_reader()
        self._schedule = ReadSchedule(clock())
        self._wake = asyncio.Event()
        self._unread: set[str] = set()
        """Jobs to be read at the next load."""
        self._waiting: set[str] = set()
        """Jobs with something that the throttle holds back."""
        self._is_scan_due = False
        """A job was written that no stream names, and there are streams of all jobs."""
        self._asleep_until = -math.inf
        """Clock time; in the past while it is awake."""
        self._failures = 0
        self.polled_at = clock()
        """Clock time of the last success, or of the start."""

    @property
    def is_failing(self) -> bool:
        return self._failures > 0

    def read_soon(self, job_id: str) -> None:
        """Reads a job that is watched from now on before the next tick."""
        self._unread.add(job_id)
        self._wake.set()

    def scan_soon(self) -> None:
        """A stream of all jobs is joining."""
        self._wake.set()

    def on_notification(self, job_ids: Collection[str] = (), ended: Collection[str] = ()) -> None:
        """These jobs were written; none: some that are not named. Those that have ended are read
        at once, others once their next state may be sent.
        """
        named = self._jobs.keys() & job_ids if job_ids else set(self._jobs)
        wanted_at = math.inf
        if self._active_jobs.is_watched and (not job_ids or len(named) < len(job_ids)):
            self._is_scan_due = True
            wanted_at = -math.inf
        clock = self._clock()
        for job_id in named:
            job = self._jobs[job_id]
            if job_ids and job_id not in ended and job.is_paused(clock):
                job.is_behind = True
                self._waiting.add(job_id)
                wanted_at = min(wanted_at, job.due_at)
            else:
                self._unread.add(job_id)
                wanted_at = -math.inf
        if wanted_at < self._asleep_until:
            self._wake.set()

    async def run(self) -> None:
        """Polls until it is cancelled. A failure is logged once, and tried again."""
        while True:
            self._wake.clear()
            self._release_what_is_due()
            try:
                await self._read_what_is_due()
            except Exception as error:  # noqa: BLE001  (nothing may end the streams of a process)
                await self._back_off(error)
                continue
            self._recover()
            await self._sleep()

    def close(self) -> None:
        self._reader.close()

    async def _read_what_is_due(self) -> None:
        clock, schedule = self._clock(), self._schedule
        is_tick = clock >= schedule.next_tick_at
        if is_tick or clock >= self._next_scan_at:
            await self._read(self._asked_at_a_tick(clock), is_scan=True)
            schedule.tick(clock)
        elif self._unread and clock >= schedule.next_load_at:
            if not self._active_jobs.is_watched and self._unread >= self._jobs.keys():
                schedule.tick(clock)
            await self._read(self._unread)
        else:
            return
        schedule.loaded(clock, self._clock(), is_tick=is_tick)

    def _asked_at_a_tick(self, clock: float) -> Collection[str]:
        """All watched jobs, except those that are read within an interval anyway, when their
        throttle's interval ends.
        """
        if self._active_jobs.is_watched:
            return self._jobs
        soon = clock + conf.poll_interval_seconds + LOAD_INTERVAL_SECONDS
        return [
            job_id
            for job_id, job in self._jobs.items()
            if job_id in self._unread or not (job.is_behind and job.due_at <= soon)
        ]

    @property
    def _next_scan_at(self) -> float:
        """When all active jobs are to be read, should that be before the next tick."""
        due_at = self._schedule.next_load_at if self._is_scan_due else math.inf
        joining_at = self._schedule.next_scan_at if self._active_jobs.joining else math.inf
        return min(due_at, joining_at)

    async def _read(self, job_ids: Iterable[str], *, is_scan: bool = False) -> None:
        clock = self._clock()
        known = {
            job_id: _last_seen(job, clock) for job_id in job_ids if (job := self._jobs.get(job_id))
        }
        # What is asked for from here on may have been written after it was read.
        asked_for, self._unread = self._unread, set()
        now, scan, was_scan_due = timezone.now(), None, self._is_scan_due
        if is_scan:
            self._is_scan_due = False
            if self._active_jobs.is_watched:
                scan = self._active_jobs.scan(now, clock)
        if not known and scan is None:
            return
        try:
            changes = await self._query(known, now, self._scope(known, scan))
        except Exception:
            self._unread |= asked_for
            self._is_scan_due |= was_scan_due
            raise
        for job_id, error in changes.broken.items():
            logger.error("sse_stream_error", exc_info=error, extra={"job_id": job_id})
        # Ends first and in their order: what follows carries an `id` that says they were sent.
        for job_id, state in sorted(changes.states.items(), key=_active_until):
            self._offer(job_id, state, scan, is_broken=job_id in changes.broken)
        for job_id in changes.held_back & self._jobs.keys():
            self._jobs[job_id].is_behind = True
        read = self._jobs.keys() & (known.keys() | changes.states.keys())
        self._waiting |= {job_id for job_id in read if self._jobs[job_id].is_waiting}
        if scan is not None:
            await self._complete(scan)

    def _scope(self, known: Iterable[str], scan: Scan | None) -> Scope:
        jobs, active_jobs = [self._jobs[job_id] for job_id in known], self._active_jobs
        is_for_all = scan is not None or bool(active_jobs.subscribers)
        return Scope(
            single={job.job_id for job in jobs if job.has_single},
            multi=None if is_for_all else {job.job_id for job in jobs if job.has_named},
            ended_since=None if scan is None else scan.ended_since,
            sent=active_jobs.sent if scan else {},
            broken=active_jobs.broken(scan.clock) if scan else (),
        )

    async def _complete(self, scan: Scan) -> None:
        """Sends the states of all active jobs to new streams, with clocks that are right."""
        clock = self._clock()
        if scan.joining:
            self._schedule.scanned(clock)
            await self._refresh(scan, clock)
        active = [
            (job_id, job.state)
            for job_id, job in self._jobs.items()
            if job.state is not None and not job.state.is_final
        ]
        self._active_jobs.complete(scan, active, not_before=clock + conf.throttle_seconds)

    async def _refresh(self, scan: Scan, clock: float) -> None:
        stale = {
            job_id: job.state
            for job_id, job in self._jobs.items()
            if isinstance(job.state, JobState) and job.needs_encoding(clock)
        }
        fresh = await self._reader.run(refreshed, stale, timezone.now(), scan.now)
        for job_id, state in fresh.items():
            job = self._jobs.get(job_id)
            if job is not None and job.state is stale[job_id]:
                job.state, job.encoded_at = state, clock

    async def _query(
        self, known: dict[str, LastSeen | None], now: datetime, scope: Scope
    ) -> Changes:
        since = self._clock()
        changes = await self._reader.run(read_changes, known, now, scope)
        self.polled_at = self._clock()
        self._counts.polls += 1
        self._counts.poll_seconds += self.polled_at - since
        return changes

    def _offer(self, job_id: str, state: State, scan: Scan | None, *, is_broken: bool) -> None:
        job, active_jobs = self._jobs.get(job_id), self._active_jobs
        was_active = job is not None and job.is_active
        # The last stream of all jobs may have left during the read.
        if job is None and scan is not None and active_jobs.is_watched and not state.is_final:
            job = self._jobs[job_id] = WatchedJob(job_id, active_jobs.subscribers)
        if job is not None:
            job.offer(state, self._clock())
            # Streams of many jobs go on, and are sent the states of a new attempt.
            if is_broken or (state.is_final and not job.has_named):
                del self._jobs[job_id]
        if not active_jobs.is_watched:
            return
        if is_broken and isinstance(state, NoState):
            active_jobs.breaks(job_id, state, clock=self._clock())
        elif state.is_final:
            active_jobs.ends(job_id, state, was_active=was_active, scan=scan)
        else:
            active_jobs.goes_on(job_id)

    def _release_what_is_due(self) -> None:
        clock = self._clock()
        for job_id in list(self._waiting):
            job = self._jobs.get(job_id)
            if job is not None and job.is_to_be_read(clock):
                job.is_behind = False
                self._unread.add(job_id)
                self._waiting.discard(job_id)
                continue
            if job is not None:
                job.release(clock)
            if job is None or not job.is_waiting:
                self._waiting.discard(job_id)

    async def _sleep(self) -> None:
        schedule = self._schedule
        due = [self._next_scan_at, math.inf if self._is_tick_idle else schedule.next_tick_at]
        due += [job.due_at for each in self._waiting if (job := self._jobs.get(each))]
        if self._unread:
            due.append(schedule.next_load_at)
        await self._sleep_until(min(due))

    @property
    def _is_tick_idle(self) -> bool:
        """Is everything that the next tick would read due soon after it anyway?"""
        if self._active_jobs.is_watched or len(self._waiting) < len(self._jobs):
            return False
        return not self._asked_at_a_tick(self._schedule.next_tick_at)

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

    async def _back_off(self, error: Exception) -> None:
        self._failures += 1
        self._counts.poll_failures += 1
        if self._failures == 1:
            logger.error("feed_poll_failed", exc_info=error, extra={"watched": len(self._jobs)})
        await asyncio.sleep(
            min(MAX_BACK_OFF_SECONDS, conf.poll_interval_seconds * 2 ** min(self._failures, 10))
        )

    def _recover(self) -> None:
        if self._failures:
            logger.warning("feed_poll_recovered", extra={"failures": self._failures})
        self._failures = 0


def _last_seen(job: WatchedJob, clock: float) -> LastSeen | None:
    return None if job.state is None else LastSeen.of(job.state, is_paused=job.is_paused(clock))


def _active_until(item: tuple[str, State]) -> datetime:
    return item[1].active_until
