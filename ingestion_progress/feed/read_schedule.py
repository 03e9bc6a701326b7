"""When the poller reads next, and which jobs: ticks, and a limited rate of reads between them."""

import math
from collections.abc import Collection

from ingestion_progress.conf import conf
from ingestion_progress.feed.watched_jobs import WatchedJobs

# New and notified jobs are read at once, but with this pause between reads: many streams that open
# together share a read.
LOAD_INTERVAL_SECONDS = 0.02
# Sustained rate limit: after this many in a row, loads are as rare as ticks are by default.
# Otherwise many jobs that change at different times would be read without a pause.
BURST_SIZE = 20
SUSTAINED_INTERVAL_SECONDS = 0.25
# The pause between scans for new streams of all jobs, which share them.
SCAN_INTERVAL_SECONDS = 0.25


class ReadSchedule:
    """Ticks are regular. A read between them ("load") takes a token from a bucket that holds
    `BURST_SIZE` and gets one back per `SUSTAINED_INTERVAL_SECONDS`. All times are seconds of the
    feed's clock.
    """

    def __init__(self, jobs: WatchedJobs, clock: float) -> None:
        self._jobs = jobs
        self.unread: set[str] = set()
        """Jobs to be read at the next load."""
        self.waiting: set[str] = set()
        """Jobs with a state that the throttle holds back."""
        self.is_scan_due = False
        """A job was written that no stream names, and there are streams of all jobs."""
        self._next_tick_at = self._next_load_at = self._next_joining_at = clock
        self._full_at = clock
        """When the bucket is full again."""

    def is_tick(self, clock: float) -> bool:
        return clock >= self._next_tick_at

    def is_scan(self, clock: float) -> bool:
        return clock >= self._next_scan_at

    def is_load(self, clock: float) -> bool:
        return bool(self.unread) and clock >= self._next_load_at

    def notify(self, job_ids: Collection[str], ended: Collection[str], clock: float) -> float:
        """Jobs were written (empty: jobs that are not named); returns when the next read is due.

        Jobs that have ended are read at once, others once their next state may be sent.
        """
        watched = self._jobs.by_id
        named = watched.keys() & job_ids if job_ids else set(watched)
        due_at = math.inf
        if self._jobs.are_all_watched and (not job_ids or len(named) < len(job_ids)):
            self.is_scan_due = True
            due_at = -math.inf
        for job_id in named:
            job = watched[job_id]
            if job_ids and job_id not in ended and job.is_paused(clock):
                job.is_behind = True
                self.waiting.add(job_id)
                due_at = min(due_at, job.due_at)
            else:
                self.unread.add(job_id)
                due_at = -math.inf
        return due_at

    def release(self, clock: float) -> None:
        """Sends the held states that are due, or has newer ones read."""
        for job_id in list(self.waiting):
            job = self._jobs.by_id.get(job_id)
            if job is not None and job.is_to_be_read(clock):
                job.is_behind = False
                self.unread.add(job_id)
                self.waiting.discard(job_id)
                continue
            if job is not None:
                job.release(clock)
            if job is None or not job.is_waiting:
                self.waiting.discard(job_id)

    def jobs_of_tick(self, clock: float) -> Collection[str]:
        """All watched jobs, except changed ones whose throttle interval ends by the next tick: they
        are read then.
        """
        watched = self._jobs.by_id
        if self._jobs.are_all_watched:
            return watched
        soon = clock + conf.poll_interval_seconds + LOAD_INTERVAL_SECONDS
        return [
            job_id
            for job_id, job in watched.items()
            if job_id in self.unread or not (job.is_behind and job.due_at <= soon)
        ]

    def ticked(self, clock: float) -> None:
        """A tick took place, or a load that read every watched job."""
        self._next_tick_at = clock + conf.poll_interval_seconds

    def joined(self, clock: float) -> None:
        """New streams of all jobs got their first states."""
        self._next_joining_at = clock + SCAN_INTERVAL_SECONDS

    def loaded(self, began_at: float, ended_at: float, *, is_tick: bool) -> None:
        """A read took place. A tick takes no token."""
        if not is_tick:
            self._full_at = max(self._full_at, began_at) + SUSTAINED_INTERVAL_SECONDS
        has_token_at = self._full_at - BURST_SIZE * SUSTAINED_INTERVAL_SECONDS
        self._next_load_at = max(ended_at + LOAD_INTERVAL_SECONDS, has_token_at)

    @property
    def next_at(self) -> float:
        """When the next read or send is due, without further notifications."""
        watched = self._jobs.by_id
        due = [self._next_scan_at, math.inf if self._is_tick_idle else self._next_tick_at]
        due += [job.due_at for each in self.waiting if (job := watched.get(each))]
        if self.unread:
            due.append(self._next_load_at)
        return min(due)

    @property
    def _next_scan_at(self) -> float:
        """When a scan is due before the next tick; infinity if none is."""
        due_at = self._next_load_at if self.is_scan_due else math.inf
        joining_at = self._next_joining_at if self._jobs.active.joining else math.inf
        return min(due_at, joining_at)

    @property
    def _is_tick_idle(self) -> bool:
        """Is every job that the next tick would read due soon after it anyway?"""
        if self._jobs.are_all_watched or len(self.waiting) < len(self._jobs.by_id):
            return False
        return not self.jobs_of_tick(self._next_tick_at)
