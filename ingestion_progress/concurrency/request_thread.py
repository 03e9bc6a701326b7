"""Releases the thread and the database connections that Django's handler holds for a request."""

from asgiref.sync import sync_to_async
from django.db import connections

from ingestion_progress.concurrency.compat import asgiref


def release_connections() -> None:
    """Closes this thread's database connections, except those inside a transaction."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


async def release_thread() -> None:
    """Releases the request's thread and its connections before the response starts.

    Otherwise both are kept until the response has ended: 10,000 streams would be 10,000 threads.
    """
    await sync_to_async(release_connections, thread_sensitive=True)()
    asgiref.shut_down_request_thread()
