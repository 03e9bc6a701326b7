"""Notifications by PostgreSQL's LISTEN and NOTIFY.

NOTIFY serialises commits, so it has a separate connection and is never part of a flush. A
connection may die half-open without an error, so the listener sends a query from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, LiteralString

from django.db import connections, router

from ingestion_progress.models import Job
from ingestion_progress.wakeups.transports import Notification

if TYPE_CHECKING:
    import psycopg

CHANNEL = "ingestion_progress"
CONNECT_SECONDS = 5
# How often the listener checks its connection, and how long it waits for the answer.
CHECK_EVERY_SECONDS = 10.0
CHECK_SECONDS = 4.0
# Parameters that only Django's cursors accept.
DJANGO_ONLY = frozenset({"context", "cursor_factory", "prepare_threshold"})


class PostgresTransport:
    def __init__(self) -> None:
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def send(self, notification: Notification) -> None:
        connection = await self._connected()
        await _answer(connection, "SELECT pg_notify(%s, %s)", [CHANNEL, notification.encoded()])

    async def receive(
        self, deliver: Callable[[Notification], None], ready: Callable[[], None]
    ) -> None:
        def on_notify(notify: psycopg.Notify) -> None:
            if notification := Notification.decoded(notify.payload):
                deliver(notification)

        connection = await self._connected()
        connection.add_notify_handler(on_notify)
        await _answer(connection, f"LISTEN {CHANNEL}")
        ready()
        while True:
            await _handle_notifications(connection, CHECK_EVERY_SECONDS)
            await _answer(connection, "SELECT 1")

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        import psycopg

        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                autocommit=True, **connection_parameters()
            )
        return self._connection


async def _handle_notifications(connection: psycopg.AsyncConnection[Any], seconds: float) -> None:
    """Calls the connection's handler. Raises psycopg's OperationalError if the connection ends.

    Instead of psycopg's `notifies`, which wakes the process ten times a second.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    socket_number = connection.fileno()

    def read() -> None:
        try:
            connection.pgconn.consume_input()
        except Exception as error:  # noqa: BLE001  (raised where `ended` is awaited)
            loop.remove_reader(socket_number)
            if not ended.done():
                ended.set_exception(error)
        else:
            while notification := connection.pgconn.notifies():
                if connection.pgconn.notify_handler:
                    connection.pgconn.notify_handler(notification)

    loop.add_reader(socket_number, read)
    try:
        async with asyncio.timeout(seconds):
            await ended
    except TimeoutError:
        pass
    finally:
        if not ended.done() or ended.cancelled():  # otherwise the number may be reused already
            loop.remove_reader(socket_number)


async def _answer(
    connection: psycopg.AsyncConnection[Any], query: LiteralString, values: Sequence[str] = ()
) -> None:
    """Runs the query. Raises psycopg's OperationalError if there is no answer in time.

    A cancelled query would wait, without a limit, for the server to confirm the cancellation.
    """
    work = asyncio.ensure_future(connection.execute(query, values))
    work.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait({work}, timeout=CHECK_SECONDS)
    finally:
        if not work.done():
            _shut_down(connection)
            # The query fails at once. The connection must not be closed before: that frees memory
            # which the query still reads.
            await asyncio.wait({work}, timeout=CHECK_SECONDS)
    await work


def _shut_down(connection: psycopg.AsyncConnection[Any]) -> None:
    """Shuts down the socket, so that everything that waits for it fails immediately."""
    if connection.closed:
        return
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def connection_parameters() -> dict[str, Any]:
    """Parameters of the progress database for psycopg, with TCP keep-alives."""
    wrapper = connections[router.db_for_write(Job)]
    given = wrapper.get_connection_params()
    keepalive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    limits = {"connect_timeout": CONNECT_SECONDS, "application_name": "ingestion-progress-wakeups"}
    # Milliseconds until unacknowledged data ends a connection, instead of a quarter of an hour.
    limits["tcp_user_timeout"] = 10_000
    return keepalive | limits | {k: v for k, v in given.items() if k not in DJANGO_ONLY}
