"""The threads in which the synchronous parts of requests for streams run, and what they hold."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections


class SharedThread(ThreadPoolExecutor):
    """One thread that several requests use at a time; it belongs to none of them."""

    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix="ingestion-progress-streams")


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
