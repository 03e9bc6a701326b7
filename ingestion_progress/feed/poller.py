from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from django.utils import timezone

from ingestion_progress.conf import conf
from ingestion_progress.feed.overview import Look, Overview
from ingestion_progress.feed.reader import patient_reader
from ingestion_progress.feed.reading import Changes, Known, Scope, read_changes
from ingestion_progress.feed.states import State, refreshed
from ingestion_progress.feed.watches import Watch
from ingestion_progress.metrics import FeedCounts

logger = logging.getLogger(__name__)

# New jobs and hints are read at once, but not more often than this: a crowd that arrives together
# is read together.
LOAD_INTERVAL_SECONDS = 0.02
# Nor is that kept up. After so many in a row they are as rare as ticks by default, or many jobs
# that change out of step would be read without a pause.
LOADS_IN_A_ROW = 20
LASTING_LOAD_INTERVAL_SECONDS = 0.25
# So do newcomers of the streams of all jobs, each of which may need a reading of all.
LOOK_INTERVAL_SECONDS = 0.25
MAX_BACK_OFF_SECONDS = 5.0


class Poller:
    """Reads the watched jobs at every tick, new ones at once, and publishes what is new."""

    def __init__(
        self,
        watches: dict[str, Watch],
        *,
        overview: Overview | None = None,
        clock: Callable[[], float] = time.monotonic,
        counts: FeedCounts | None = None,
    ) -> None:
        self._watches = watches
        self._overview = Overview() if overview is None else overview
        self._clock = clock
        self._counts = FeedCounts() if counts is None else counts
        self._reader = patient_reader()
        self._wake = asyncio.Event()
        self._unread: set[str] = set()
        self._waiting: set[str] = set()
        """Jobs with something that the throttle holds back."""
        self._next_tick_at = self._next_load_at = self._next_welcome_at = clock()
        self._loads_paid_until = clock()
        """When as many loads as there were would have been the lasting interval apart."""
        self._is_hinted = False
        """A job was written that nobody watches by name, and somebody watches all."""
        self._asleep_until = -math.inf
        """Clock time; in the past while it is awake."""
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

    def welcome_soon(self) -> None:
        """Somebody watches all jobs from now on."""
        self._wake.set()

    def look_now(self, job_ids: Collection[str] = (), ended: Collection[str] = ()) -> None:
        """Jobs were written, says a hint: those, or some that it does not name. Those that have
        ended are read at once, others once their next state may be sent.
        """
        watched = self._watches.keys()
        hinted = watched & job_ids if job_ids else set(watched)
        wanted_at = math.inf
        if self._overview.is_watched and (not job_ids or len(hinted) < len(job_ids)):
            self._is_hinted = True
            wanted_at = -math.inf
        clock = self._clock()
        for job_id in hinted:
            watch = self._watches[job_id]
            if job_ids and job_id not in ended and watch.state and watch.due_at > clock:
                watch.is_behind = True
                self._waiting.add(job_id)
                wanted_at = min(wanted_at, watch.due_at)
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
        clock = self._clock()
        is_tick = clock >= self._next_tick_at
        if is_tick or clock >= self._next_look_at:
            await self._read(self._asked_at_a_tick(clock), looks_around=True)
            self._next_tick_at = clock + conf.poll_interval_seconds
        elif self._unread and clock >= self._next_load_at:
            if not self._overview.is_watched and self._unread >= self._watches.keys():
                self._next_tick_at = clock + conf.poll_interval_seconds
            await self._read(self._unread)
        else:
            return
        self._next_load_at = self._load_after(clock, costs_one=not is_tick)

    def _load_after(self, clock: float, *, costs_one: bool) -> float:
        """When the next one may come after a reading that began then; ticks cost none."""
        if costs_one:
            paid_until = max(self._loads_paid_until, clock) + LASTING_LOAD_INTERVAL_SECONDS
            self._loads_paid_until = paid_until
        in_advance = LOADS_IN_A_ROW * LASTING_LOAD_INTERVAL_SECONDS
        return max(self._clock() + LOAD_INTERVAL_SECONDS, self._loads_paid_until - in_advance)

    def _asked_at_a_tick(self, clock: float) -> Collection[str]:
        """All that are watched, but for those that are read within an interval anyway, at the end
        of their throttle's.
        """
        if self._overview.is_watched:
            return self._watches
        soon = clock + conf.poll_interval_seconds + LOAD_INTERVAL_SECONDS
        return [
            job_id
            for job_id, watch in self._watches.items()
            if job_id in self._unread or not (watch.is_behind and watch.due_at <= soon)
        ]

    @property
    def _next_look_at(self) -> float:
        """When all active jobs are to be read, should that be before the next tick."""
        hinted_at = self._next_load_at if self._is_hinted else math.inf
        welcome_at = self._next_welcome_at if self._overview.newcomers else math.inf
        return min(hinted_at, welcome_at)

    async def _read(self, job_ids: Iterable[str], *, looks_around: bool = False) -> None:
        clock = self._clock()
        known = {
            job_id: _known(watch, clock)
            for job_id in job_ids
            if (watch := self._watches.get(job_id))
        }
        # What is asked for from here on may have been written after it was read.
        asked_for, self._unread = self._unread, set()
        now, look, was_hinted = timezone.now(), None, self._is_hinted
        if looks_around:
            self._is_hinted = False
            if self._overview.is_watched:
                look = self._overview.look(now, clock)
        if not known and look is None:
            return
        try:
            changes = await self._query(known, now, self._scope(known, look))
        except Exception:
            self._unread |= asked_for
            self._is_hinted |= was_hinted
            raise
        for job_id, error in changes.broken.items():
            logger.error("sse_stream_error", exc_info=error, extra={"job_id": job_id})
        # Ends first and in their order: what follows carries an `id` that says they were sent.
        for job_id, state in sorted(changes.states.items(), key=_active_until):
            self._offer(job_id, state, look, is_broken=job_id in changes.broken)
        for job_id in changes.held_back & self._watches.keys():
            self._watches[job_id].is_behind = True
        read = self._watches.keys() & (known.keys() | changes.states.keys())
        self._waiting |= {job_id for job_id in read if self._watches[job_id].is_waiting}
        if look is not None:
            await self._complete(look)

    def _scope(self, known: Iterable[str], look: Look | None) -> Scope:
        watches = [self._watches[job_id] for job_id in known]
        is_for_all = look is not None or bool(self._overview.crowd)
        return Scope(
            singly={watch.job_id for watch in watches if watch.subscribers},
            jointly=None if is_for_all else {w.job_id for w in watches if w.named_by},
            ended_since=None if look is None else look.ended_since,
            told=self._overview.told if look else {},
            broken=self._overview.broken(look.clock) if look else (),
        )

    async def _complete(self, look: Look) -> None:
        """Gives newcomers what is known of all active jobs, with clocks that are right."""
        clock = self._clock()
        if look.newcomers:
            self._next_welcome_at = clock + LOOK_INTERVAL_SECONDS
            stale = {
                job_id: watch.state
                for job_id, watch in self._watches.items()
                if watch.state is not None and watch.needs_encoding(clock)
            }
            fresh = await self._reader.run(refreshed, stale, timezone.now(), look.now)
            for job_id, state in fresh.items():
                watch = self._watches.get(job_id)
                if watch is not None and watch.state is stale[job_id]:
                    watch.state, watch.encoded_at = state, clock
        active = [
            (job_id, watch.state)
            for job_id, watch in self._watches.items()
            if watch.state is not None and not watch.state.is_final
        ]
        self._overview.complete(look, active, not_before=clock + conf.throttle_seconds)

    async def _query(self, known: dict[str, Known | None], now: datetime, scope: Scope) -> Changes:
        since = self._clock()
        changes = await self._reader.run(read_changes, known, now, scope)
        self.polled_at = self._clock()
        self._counts.polls += 1
        self._counts.poll_seconds += self.polled_at - since
        return changes

    def _offer(self, job_id: str, state: State, look: Look | None, *, is_broken: bool) -> None:
        watch, overview = self._watches.get(job_id), self._overview
        was_active = watch is not None and watch.state is not None and not watch.state.is_final
        # The last stream of all jobs may have left during the read.
        if watch is None and look is not None and overview.is_watched and not state.is_final:
            watch = self._watches[job_id] = Watch(job_id, overview.crowd)
        if watch is not None:
            watch.offer(state, self._clock())
            # Streams of many jobs go on, and want to know of a new attempt.
            if is_broken or (state.is_final and not watch.named_by):
                del self._watches[job_id]
        if not overview.is_watched:
            return
        if is_broken:
            overview.breaks(job_id, state, clock=self._clock())
        elif state.is_final:
            overview.ends(job_id, state, was_active=was_active, look=look)
        else:
            overview.goes_on(job_id)

    def _release_what_is_due(self) -> None:
        clock = self._clock()
        for job_id in list(self._waiting):
            watch = self._watches.get(job_id)
            if watch is not None and watch.is_to_be_read(clock):
                watch.is_behind = False
                self._unread.add(job_id)
                self._waiting.discard(job_id)
                continue
            if watch is not None:
                watch.release(clock)
            if watch is None or not watch.is_waiting:
                self._waiting.discard(job_id)

    async def _sleep(self) -> None:
        due = [self._next_look_at, math.inf if self._is_tick_idle else self._next_tick_at]
        due += [watch.due_at for each in self._waiting if (watch := self._watches.get(each))]
        if self._unread:
            due.append(self._next_load_at)
        await self._nap_until(min(due))

    @property
    def _is_tick_idle(self) -> bool:
        """Is all that the next tick would ask for read soon after it?"""
        if self._overview.is_watched or len(self._waiting) < len(self._watches):
            return False
        return not self._asked_at_a_tick(self._next_tick_at)

    async def _nap_until(self, clock: float) -> None:
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
            logger.error("feed_poll_failed", exc_info=error, extra={"watched": len(self._watches)})
        await asyncio.sleep(
            min(MAX_BACK_OFF_SECONDS, conf.poll_interval_seconds * 2 ** min(self._failures, 10))
        )

    def _recover(self) -> None:
        if self._failures:
            logger.warning("feed_poll_recovered", extra={"failures": self._failures})
        self._failures = 0


def _known(watch: Watch, clock: float) -> Known | None:
    if watch.state is None:
        return None
    return Known.of(watch.state, is_paused=watch.due_at > clock)


def _active_until(item: tuple[str, State]) -> datetime:
    return item[1].active_until
