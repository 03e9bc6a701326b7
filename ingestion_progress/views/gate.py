"""Which streams of a process are open: how many may be, and who may go on watching."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from django.http import HttpRequest

from ingestion_progress import access
from ingestion_progress.conf import conf
from ingestion_progress.feed import Subscriber
from ingestion_progress.frames import refused_frame
from ingestion_progress.threads import PatientThread, WorkerThread, release_connections

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
RETRY_RECHECK_SECONDS = 2.0
# A response that nobody has begun to read by then never will be; the feed has given it up before.
ABANDONED_AFTER_SECONDS = 35.0
# A project's own rule may ask the database about each of thousands of streams.
RECHECK_PATIENCE_SECONDS = 60.0
# One user's home is a /64, with 2⁶⁴ addresses.
IPV6_PREFIX = 64


@dataclass(eq=False, kw_only=True, slots=True)
class Seat:
    """One stream's leave to be open."""

    job_ids: Sequence[str]
    """What was asked for; `("",)` for all jobs together."""
    holders: tuple[str, ...]
    """Who it counts for: a user, an address."""
    request: HttpRequest | None
    """What is judged again and again; None where everybody may watch."""
    expires_at: float | None
    """Unix seconds."""
    taken_at: float
    subscriber: Subscriber | None = None

    def end(self, code: str) -> None:
        if self.subscriber is not None:
            self.subscriber.end(refused_frame(self.subscriber.job_id, code))

    def is_abandoned(self, clock: float) -> bool:
        is_read = self.subscriber is not None and self.subscriber.is_open
        return not is_read and clock - self.taken_at > ABANDONED_AFTER_SECONDS


class Gate:
    """Lets streams in, and ends those whose leave has ended. In one event loop at a time.

    One task for all of them, while there are any; the database is asked in a thread of its own,
    which holds no connection in between.
    """

    def __init__(self) -> None:
        self._seats: set[Seat] = set()
        self._held: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: PatientThread | None = None
        self._recheck: asyncio.Task[list[str]] | None = None
        self._recheck_at = 0.0
        self._has_failed = False

    @property
    def stream_count(self) -> int:
        return len(self._seats)

    def admit(
        self, request: HttpRequest, job_ids: Sequence[str], grant: access.Grant
    ) -> Seat | None:
        """A seat, to be released at the end; None where there are too many streams already."""
        self._enter_loop(asyncio.get_running_loop())
        limits = _limits(request, grant)
        is_full = 0 < conf.max_streams <= len(self._seats)
        if is_full or any(limit <= self._held[holder] for holder, limit in limits.items()):
            return None
        seat = Seat(
            job_ids=job_ids,
            holders=tuple(limits),
            request=None if access.is_open() else request,
            expires_at=grant.expires_at,
            taken_at=time.monotonic(),
        )
        self._seats.add(seat)
        self._held.update(seat.holders)
        if self._task is None:
            self._start()
        return seat

    def release(self, seat: Seat) -> None:
        """May be called twice."""
        if seat not in self._seats:
            return
        self._seats.discard(seat)
        for holder in seat.holders:
            self._held[holder] -= 1
            if not self._held[holder]:
                del self._held[holder]
        if not self._seats:
            self._stop()

    def tick(self, now: float, clock: float) -> float:
        """Ends what has expired; returns the seconds until there is something to do again.

        `now` is Unix time, `clock` that of `time.monotonic`.
        """
        next_in = TICK_SECONDS
        for seat in list(self._seats):
            if seat.is_abandoned(clock):
                self.release(seat)
            elif seat.expires_at is not None and seat.expires_at <= now:
                seat.end("token_expired")
            elif seat.expires_at is not None:
                next_in = min(next_in, seat.expires_at - now)
        if clock >= self._recheck_at and self._recheck is None:
            self._start_recheck(clock)
        return next_in

    def _enter_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts afresh where the event loop was replaced; its streams ended with it."""
        if self._loop is not loop:
            self._seats.clear()
            self._held.clear()
            self._forget()
            self._loop = loop

    def _start(self) -> None:
        assert self._loop is not None  # noqa: S101  (for mypy)
        self._recheck_at = time.monotonic() + conf.recheck_seconds
        # An empty context: the first visitor's ends with that visitor.
        self._task = self._loop.create_task(self._run(), context=contextvars.Context())

    async def _run(self) -> None:
        while True:
            pause_seconds = self.tick(time.time(), time.monotonic())
            await asyncio.sleep(max(0.01, pause_seconds))

    def _start_recheck(self, clock: float) -> None:
        self._recheck_at = clock + conf.recheck_seconds
        seats = [seat for seat in self._seats if seat.request is not None]
        if not seats or self._loop is None:
            return
        if self._thread is None:
            start = functools.partial(WorkerThread, "ingestion-progress-gate")
            self._thread = PatientThread(start, patience_seconds=RECHECK_PATIENCE_SECONDS)
        self._recheck = self._loop.create_task(self._thread.run(_refusals, seats))
        self._recheck.add_done_callback(lambda done: self._on_rechecked(done, seats))

    def _on_rechecked(self, done: asyncio.Future[list[str]], seats: Sequence[Seat]) -> None:
        if self._recheck is done:
            self._recheck = None
        if done.cancelled():
            return
        if error := done.exception():
            # The database is away: streams stay open, and are judged once it is back.
            self._recheck_at = time.monotonic() + RETRY_RECHECK_SECONDS
            if not self._has_failed:
                logger.error("access_recheck_failed", exc_info=error)
            self._has_failed = True
            return
        if self._has_failed:
            logger.warning("access_recheck_recovered")
        self._has_failed = False
        for seat, code in zip(seats, done.result(), strict=True):
            if code:
                seat.end("token_expired" if code == "token_expired" else "forbidden")

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._forget()

    def _forget(self) -> None:
        if self._thread is not None:
            self._thread.close()
        self._task = self._thread = self._recheck = None


def _refusals(seats: Sequence[Seat]) -> list[str]:
    """In the gate's own thread."""
    judged = [seat for seat in seats if seat.request is not None]
    asked = [(seat.request, job_id) for seat in judged for job_id in seat.job_ids if seat.request]
    try:
        codes = iter(access.refusals(asked))
        return [_worst(islice(codes, len(seat.job_ids))) for seat in judged]
    finally:
        release_connections()


def _worst(codes: Iterable[str]) -> str:
    """The code that refuses one of a stream's jobs, and so the stream."""
    return max(codes, default="")


def _limits(request: HttpRequest, grant: access.Grant) -> dict[str, int]:
    """Who a stream counts for, and how many each may have; only where there is a limit."""
    limits = {}
    if conf.max_streams_per_address:
        network = network_of(request.META.get("REMOTE_ADDR", ""))
        limits[f"address:{network}"] = conf.max_streams_per_address
    if grant.user_id and conf.max_streams_per_user:
        limits[f"user:{grant.user_id}"] = conf.max_streams_per_user
    return limits


@functools.lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """The address, or of IPv6 the network that one customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket, or a proxy's own idea
        return address
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed  # as a socket for both names IPv4
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
