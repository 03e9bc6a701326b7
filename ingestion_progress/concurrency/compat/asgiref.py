"""asgiref: the context, the event loop and the thread of synchronous code."""

import asyncio
import contextvars
import os
from collections.abc import Callable
from typing import TypeVar

from asgiref.sync import SyncToAsync, _restore_context

T = TypeVar("T")


def restore_context(context: contextvars.Context) -> None:
    """Sets the context's variables in the current context."""
    _restore_context(context)


def call_in_context(
    context: contextvars.Context,
    call: Callable[[], T],
    main_loop: asyncio.AbstractEventLoop | None = None,
) -> T:
    """Calls the function in the context, with the context's asgiref `Local` values in this thread.
    `async_to_sync` runs coroutines in the main loop, as it does under `sync_to_async`.
    """

    def restored() -> T:
        _restore_context(context)
        return call()

    if main_loop is not None:
        SyncToAsync.threadlocal.main_event_loop = main_loop
        SyncToAsync.threadlocal.main_event_loop_pid = os.getpid()
    return context.run(restored)


def shut_down_request_thread() -> None:
    """Ends the thread in which asgiref runs the synchronous parts of the current request. Later
    synchronous parts of the request start another one.
    """
    request_context = SyncToAsync.thread_sensitive_context.get(None)
    if request_context is None:  # a handler that runs all requests in one thread
        return
    executor = SyncToAsync.context_to_thread_executor.pop(request_context, None)
    if executor is not None:
        executor.shutdown(wait=False)
