"""Worker threads for blocking calls, which are mostly database queries.

All threads are daemons: a query to a database that accepts connections and never answers must not
keep the process from exiting.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import math
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

from django.db import connections, reset_queries

from ingestion_progress.concurrency.compat import asgiref

P = ParamSpec("P")
T = TypeVar("T")

MAX_HUNG_THREADS = 3


class WorkerThread:
    """Runs blocking calls for any number of tasks in one thread, one after the other.

    With a timeout, a call that takes longer, including the wait for its turn, raises TimeoutError,
    and a new thread replaces the one that hangs. Up to MAX_HUNG_THREADS hung threads remain until
    their network connections time out.
    """

    def __init__(
        self,
        name: str,
        *,
        timeout_seconds: float | None = None,
        connection_max_age_seconds: float = 0.0,
    ) -> None:
        """`0` closes database connections after each call, as Django's CONN_MAX_AGE does."""
        self._new_thread = functools.partial(_Thread, name, connection_max_age_seconds)
        self._timeout_seconds = timeout_seconds
        self._thread = self._new_thread()
        self._hung: list[_Thread] = []

    @property
    def is_alive(self) -> bool:
        """After `close` until the current call has returned."""
        return self._thread.is_alive

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Returns or raises what the function does. Context variables are passed in both
        directions, as with `sync_to_async`. A call that is cancelled before its turn is skipped.
        """
        thread, context = self._thread, contextvars.copy_context()
        call, loop = functools.partial(function, *args, **kwargs), asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        thread.put(
            functools.partial(asgiref.call_in_context, context, call, main_loop=loop),
            _LoopFuture(future),
        )
        try:
            async with asyncio.timeout(self._timeout_seconds) as limit:
                return await future
        except TimeoutError:
            if limit.expired() and thread is self._thread:
                self._replace()
            raise
        finally:
            asgiref.restore_context(context)

    def close(self) -> None:
        """Ends the thread and its connections after the current call; does not wait."""
        self._thread.close()

    def _replace(self) -> None:
        self._hung = [thread for thread in self._hung if thread.is_alive]
        if len(self._hung) < MAX_HUNG_THREADS:
            self._thread.close()
            self._hung.append(self._thread)
            self._thread = self._new_thread()


class SharedCall(Generic[T]):
    """A blocking call that runs once at a time: requests that arrive meanwhile share its result.

    So a call that hangs blocks only one thread.
    """

    def __init__(self, name: str, call: Callable[[], T], *, timeout_seconds: float) -> None:
        self._thread = _Thread(name)
        self._call = call
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._pending: Future[T] | None = None

    async def result(self) -> T:
        """Raises what the call raises, or TimeoutError, after which the call continues."""
        with self._lock:  # several threads may have an event loop
            if self._pending is None or self._pending.done():
                pending: Future[T] = Future()
                self._thread.put(self._call, pending)
                self._pending = pending
            result = asyncio.wrap_future(self._pending)
        # Nobody retrieves an exception that is raised after the timeout.
        result.add_done_callback(lambda done: done.cancelled() or done.exception())
        # The timeout does not cancel the call: others may wait for the same result.
        done, _ = await asyncio.wait({result}, timeout=self._timeout_seconds)
        if not done:
            raise TimeoutError
        return result.result()


class _Thread:
    """Starts with the first call, and again after it has ended or the process was forked."""

    def __init__(self, name: str, connection_max_age_seconds: float = 0.0) -> None:
        self._name = name
        self._connection_max_age_seconds = connection_max_age_seconds
        self._renew_at = -math.inf
        self._inbox: queue.SimpleQueue[tuple[Callable[[], Any], _Settable] | None]
        self._inbox = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def put(self, call: Callable[[], Any], future: _Settable) -> None:
        """Runs the call after those before it, unless the future is cancelled by then."""
        if not self.is_alive:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        self._inbox.put((call, future))

    def close(self) -> None:
        self._inbox.put(None)

    def _work(self) -> None:
        while (item := self._inbox.get()) is not None:
            call, future = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._with_connections(call))
                except BaseException as error:  # noqa: BLE001  (the caller handles it)
                    future.set_exception(error)
            del item, call, future  # their objects are not needed while the thread waits
        connections.close_all()

    def _with_connections(self, call: Callable[[], T]) -> T:
        reset_queries()
        is_kept = self._connection_max_age_seconds > 0
        if is_kept and time.monotonic() >= self._renew_at:
            self._close_connections()
        try:
            return call()
        except BaseException:
            is_kept = False
            raise
        finally:
            if not is_kept:
                self._close_connections()

    def _close_connections(self) -> None:
        connections.close_all()  # of this thread
        self._renew_at = time.monotonic() + self._connection_max_age_seconds


class _LoopFuture:
    """An asyncio future that another thread settles, at less cost than `asyncio.wrap_future`."""

    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future

    def set_running_or_notify_cancel(self) -> bool:
        return not self._future.cancelled()

    def set_result(self, result: object) -> None:
        self._settle_soon(self._future.set_result, result)

    def set_exception(self, error: BaseException) -> None:
        if isinstance(error, StopIteration):  # asyncio refuses it
            cause, error = error, RuntimeError("The function raised StopIteration.")
            error.__cause__ = cause
        self._settle_soon(self._future.set_exception, error)

    def _settle_soon(self, settle: Callable[[Any], None], value: object) -> None:
        def settle_unless_done() -> None:
            if not self._future.done():
                settle(value)

        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._future.get_loop().call_soon_threadsafe(settle_unless_done)


_Settable: TypeAlias = "_LoopFuture | Future[Any]"


def run_in_new_loop(function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Returns or raises what the coroutine does, in a new event loop and thread with a copy of this
    context. The event loop of this thread is blocked meanwhile.
    """
    context = contextvars.copy_context()
    with ThreadPoolExecutor(max_workers=1) as executor:
        run = executor.submit(asgiref.call_in_context, context, lambda: asyncio.run(function()))
        return run.result()
