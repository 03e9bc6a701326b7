"""Threads of our own for what may ask the database, and what those of Django's handler hold."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync, _restore_context, sync_to_async
from django.db import connections

P = ParamSpec("P")
T = TypeVar("T")

MAX_HUNG_THREADS = 3


class WorkerThread:
    """A thread that does what it is asked, one thing after the other, for any number of tasks.

    It starts with the first question, and nobody waits for it at exit: a database that accepts
    and never answers would keep the process for ever.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._inbox: queue.SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any]] | None]
        self._inbox = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def is_alive(self) -> bool:
        """A closed one lives on until its last call has returned."""
        return self._thread is not None and self._thread.is_alive()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns or raises; what it sets in the caller's context, is set.

        It hops as `sync_to_async` does, for a fifth of the time. A call that is cancelled before
        its turn is left out.
        """
        if not self.is_alive:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        context = contextvars.copy_context()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        call = functools.partial(function, *args, **kwargs)
        self._inbox.put((future, functools.partial(context.run, _moved_here, context, call)))
        try:
            return await future
        finally:
            _restore_context(context)

    def close(self) -> None:
        """Ends the thread and its database connections after the call under way; does not wait."""
        self._inbox.put(None)

    def _work(self) -> None:
        while (item := self._inbox.get()) is not None:
            future, call = item
            # `async_to_sync` in what is called: in the loop of who asks, as under `sync_to_async`.
            SyncToAsync.threadlocal.main_event_loop = future.get_loop()
            SyncToAsync.threadlocal.main_event_loop_pid = os.getpid()
            if not future.cancelled():
                try:
                    _settle_soon(future, asyncio.Future.set_result, call())
                except BaseException as error:  # noqa: BLE001  (it is the caller's to handle)
                    _settle_soon(future, asyncio.Future.set_exception, _settable(error))
            del item, call, future  # what they hold is not needed while the thread waits
        connections.close_all()


class PatientThread:
    """A thread that is given up when it hangs: a database that accepts a question and never
    answers fails without an error.

    Another one takes its place and connects afresh, but only so many: they end when the network
    gives up. A call's time counts from when it is put, not from its turn.
    """

    def __init__(self, start: Callable[[], WorkerThread], *, patience_seconds: float) -> None:
        self._start = start
        self._patience_seconds = patience_seconds
        self._thread = start()
        self._hung: list[WorkerThread] = []

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns or raises; raises TimeoutError where it takes too long."""
        thread = self._thread
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await thread.run(function, *args, **kwargs)
        except TimeoutError:
            if thread is self._thread:
                self._replace()
            raise

    def close(self) -> None:
        self._thread.close()

    def _replace(self) -> None:
        self._hung = [thread for thread in self._hung if thread.is_alive]
        if len(self._hung) < MAX_HUNG_THREADS:
            self._thread.close()
            self._hung.append(self._thread)
            self._thread = self._start()


def _moved_here(context: contextvars.Context, call: Callable[[], T]) -> T:
    """Calls in this context. What asgiref's `Local` has in one belongs to a thread: to this one,
    from now on.
    """
    _restore_context(context)
    return call()


def _settable(error: BaseException) -> BaseException:
    """StopIteration is the one that no Future takes."""
    if not isinstance(error, StopIteration):
        return error
    stopped = RuntimeError("The function raised StopIteration.")
    stopped.__cause__ = error
    return stopped


def _settle_soon(future: asyncio.Future[Any], settle: Callable[..., None], value: object) -> None:
    def settle_unless_done() -> None:
        if not future.done():
            settle(future, value)

    with suppress(RuntimeError):  # the loop is closed: nobody waits
        future.get_loop().call_soon_threadsafe(settle_unless_done)


def run_aside(function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What the coroutine returns or raises, while the event loop of this thread stands still: it
    runs in a loop and a thread of its own, in a copy of this context.
    """
    context = contextvars.copy_context()
    with ThreadPoolExecutor(max_workers=1) as executor:
        run = executor.submit(context.run, _moved_here, context, lambda: asyncio.run(function()))
        return run.result()


def release_connections() -> None:
    """Closes this thread's database connections, but for those within a transaction."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


async def release_thread() -> None:
    """Gives back the thread in which asgiref runs the synchronous parts of this request, and the
    database connections in it. Whatever needs a thread afterwards gets another one.

    Otherwise both are kept until the response has ended: 10,000 streams would be 10,000 threads.
    """
    await sync_to_async(release_connections, thread_sensitive=True)()
    request_context = SyncToAsync.thread_sensitive_context.get(None)
    if request_context is None:  # a handler that lets all requests share one thread
        return
    executor = SyncToAsync.context_to_thread_executor.get(request_context)
    if executor is None:
        return
    del SyncToAsync.context_to_thread_executor[request_context]
    executor.shutdown(wait=False)
