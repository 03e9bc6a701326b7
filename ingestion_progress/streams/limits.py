"""Limits the open streams of a process, and checks whether each viewer may still watch."""

import asyncio
import contextvars
import functools
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from django.http import HttpRequest

from ingestion_progress.auth import permissions
from ingestion_progress.auth.addresses import address_of
from ingestion_progress.concurrency.backoff import Backoff
from ingestion_progress.concurrency.worker_thread import WorkerThread
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.feed import EndReason, Subscription
from ingestion_progress.streams import visibility
from ingestion_progress.wire.frames import refused_frame

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
RETRY_RECHECK_SECONDS = 2.0
# A response that is not read by then was abandoned; the feed has removed its subscription before.
ABANDONED_AFTER_SECONDS = 35.0
# A project's own rule may query the database for each of thousands of streams.
RECHECK_TIMEOUT_SECONDS = 60.0


Findings: TypeAlias = tuple[list[str], list[tuple[Subscription, visibility.Visible]]]


@dataclass(eq=False, kw_only=True, slots=True)
class Connection:
    """One admitted stream."""

    job_ids: Sequence[str]
    """The requested jobs; `("",)` for all jobs together."""
    counted_for: tuple[str, ...]
    """The user and the address whose limits it counts for."""
    request: HttpRequest | None
    """Checked again regularly; None if everybody may watch."""
    expires_at: float | None
    """Unix seconds."""
    opened_at: float
    subscription: Subscription | None = None

    def end(self, code: ErrorCode) -> None:
        if self.subscription is not None:
            job_id = self.subscription.selection.error_job_id
            self.subscription.end(refused_frame(job_id, code), EndReason.REFUSED)

    def is_abandoned(self, clock: float) -> bool:
        is_read = self.subscription is not None and self.subscription.is_open
        return not is_read and clock - self.opened_at > ABANDONED_AFTER_SECONDS


class ConnectionLimits:
    """Admits streams, and ends those whose viewer may no longer watch. In one event loop at a time.

    While there are streams, one task checks them. A dedicated thread queries the database, and
    holds no connection in between.
    """

    def __init__(self) -> None:
        self._connections: set[Connection] = set()
        self._counts: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: WorkerThread | None = None
        self._recheck: asyncio.Task[Findings] | None = None
        self._recheck_at = 0.0
        self._backoff = Backoff(
            logger,
            down="access_recheck_failed",
            back="access_recheck_recovered",
            first_seconds=RETRY_RECHECK_SECONDS,
            last_seconds=RETRY_RECHECK_SECONDS,
            level=logging.ERROR,
        )

    def admit(
        self, request: HttpRequest, job_ids: Sequence[str], grant: permissions.Grant
    ) -> Connection | None:
        """A connection, to be released at the end; None if too many streams are open."""
        self._enter_loop(asyncio.get_running_loop())
        limits = _limits(request, grant)
        is_full = 0 < conf.max_streams <= len(self._connections)
        if is_full or any(limit <= self._counts[name] for name, limit in limits.items()):
            return None
        connection = Connection(
            job_ids=job_ids,
            counted_for=tuple(limits),
            request=None if permissions.is_open() else request,
            expires_at=grant.expires_at,
            opened_at=time.monotonic(),
        )
        self._connections.add(connection)
        self._counts.update(connection.counted_for)
        if self._task is None:
            self._start()
        return connection

    def release(self, connection: Connection) -> None:
        """May be called twice."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        for name in connection.counted_for:
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]
        if not self._connections:
            self._stop()

    def tick(self, now: float, clock: float) -> float:
        """Ends streams whose token has expired; returns the seconds until the next call is due.

        `now` is Unix time, `clock` that of `time.monotonic`.
        """
        next_in = TICK_SECONDS
        for connection in list(self._connections):
            if connection.is_abandoned(clock):
                self.release(connection)
            elif connection.expires_at is not None and connection.expires_at <= now:
                connection.end(ErrorCode.TOKEN_EXPIRED)
            elif connection.expires_at is not None:
                next_in = min(next_in, connection.expires_at - now)
        if clock >= self._recheck_at and self._recheck is None:
            self._start_recheck(clock)
        return next_in

    def _enter_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts again after the event loop was replaced; the streams ended with the old loop."""
        if self._loop is not loop:
            self._connections.clear()
            self._counts.clear()
            self._forget()
            self._loop = loop

    def _start(self) -> None:
        assert self._loop is not None  # noqa: S101  (for mypy)
        self._recheck_at = time.monotonic() + conf.recheck_seconds
        # An empty context, because the context of the first request ends with that request.
        self._task = self._loop.create_task(self._run(), context=contextvars.Context())

    async def _run(self) -> None:
        while True:
            pause_seconds = self.tick(time.time(), time.monotonic())
            await asyncio.sleep(max(0.01, pause_seconds))

    def _start_recheck(self, clock: float) -> None:
        self._recheck_at = clock + conf.recheck_seconds
        connections = [each for each in self._connections if each.request is not None]
        if not connections or self._loop is None:
            return
        if self._thread is None:
            self._thread = WorkerThread(
                "ingestion-progress-limits", timeout_seconds=RECHECK_TIMEOUT_SECONDS
            )
        self._recheck = self._loop.create_task(self._thread.run(_check, connections))
        self._recheck.add_done_callback(lambda done: self._on_rechecked(done, connections))

    def _on_rechecked(
        self, done: asyncio.Future[Findings], connections: Sequence[Connection]
    ) -> None:
        if self._recheck is done:
            self._recheck = None
        if done.cancelled():
            return
        if error := done.exception():
            # The database is down: streams stay open, and are checked once it is back.
            self._backoff.failed(error)
            self._recheck_at = time.monotonic() + self._backoff.pause_seconds
            return
        self._backoff.succeeded()
        refusals, changes = done.result()
        visibility.apply(changes)
        for connection, code in zip(connections, refusals, strict=True):
            if code:
                is_expired = code == ErrorCode.TOKEN_EXPIRED
                connection.end(ErrorCode.TOKEN_EXPIRED if is_expired else ErrorCode.FORBIDDEN)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._forget()

    def _forget(self) -> None:
        if self._thread is not None:
            self._thread.close()
        self._task = self._thread = self._recheck = None


@functools.cache
def get_connection_limits() -> ConnectionLimits:
    """The limits of this process, created on first use."""
    return ConnectionLimits()


def _check(connections: Sequence[Connection]) -> Findings:
    """The refusals, and what the others may show by the project's rule."""
    refusals = _refusals(connections)
    watching = [
        (each.request, each.subscription)
        for each, code in zip(connections, refusals, strict=True)
        if not code and each.request and each.subscription
    ]
    return refusals, visibility.read_again(watching) if conf.visible_jobs else []


def _refusals(connections: Sequence[Connection]) -> list[str]:
    """The code that refuses each stream or one of its jobs, or empty. Runs in the dedicated thread.

    Each of the connections has a request.
    """
    asked = [
        (each.request, job_id) for each in connections if each.request for job_id in each.job_ids
    ]
    codes = iter(permissions.recheck(asked))
    return [max(islice(codes, len(each.job_ids)), default="") for each in connections]


def _limits(request: HttpRequest, grant: permissions.Grant) -> dict[str, int]:
    """The user and the address that a stream counts for, and how many each may have."""
    limits = {}
    if conf.max_streams_per_address:
        limits[f"address:{address_of(request)}"] = conf.max_streams_per_address
    if grant.user_id and conf.max_streams_per_user:
        limits[f"user:{grant.user_id}"] = conf.max_streams_per_user
    return limits
