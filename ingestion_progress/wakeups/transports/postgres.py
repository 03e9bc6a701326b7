"""PostgreSQL's LISTEN and NOTIFY.

NOTIFY serialises the commits of those who use it, so it has a connection of its own: never part
of a flush. A listener whose connection died half-open would wait for ever, so it asks.
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
from ingestion_progress.wakeups.message import Hint

if TYPE_CHECKING:
    import psycopg

CHANNEL = "ingestion_progress"
CONNECT_SECONDS = 5
# How often a listener that hears nothing proves that its connection lives, and how long it waits.
PROOF_EVERY_SECONDS = 10.0
PROOF_SECONDS = 4.0
# What Django's wrapper adds for its own cursors.
DJANGO_ONLY = frozenset({"context", "cursor_factory", "prepare_threshold"})


class NotifyCarrier:
    def __init__(self) -> None:
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def send(self, hint: Hint) -> None:
        connection = await self._connected()
        await _answer(connection, "SELECT pg_notify(%s, %s)", [CHANNEL, hint.encoded()])

    async def receive(self, deliver: Callable[[Hint], None], ready: Callable[[], None]) -> None:
        def hear(notification: psycopg.Notify) -> None:
            if hint := Hint.decoded(notification.payload):
                deliver(hint)

        connection = await self._connected()
        connection.add_notify_handler(hear)
        await _answer(connection, f"LISTEN {CHANNEL}")
        ready()
        while True:
            await _hear(connection, PROOF_EVERY_SECONDS)
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


async def _hear(connection: psycopg.AsyncConnection[Any], seconds: float) -> None:
    """Calls the connection's handlers for so long. Raises psycopg's OperationalError when it ends.

    psycopg's own `notifies` wakes the process ten times a second.
    """
    from ingestion_progress.concurrency.compat.psycopg import dispatch_notifications

    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    socket_number = connection.fileno()

    def take() -> None:
        try:
            connection.pgconn.consume_input()
        except Exception as error:  # noqa: BLE001  (it is the waiter's to handle)
            loop.remove_reader(socket_number)
            if not ended.done():
                ended.set_exception(error)
        else:
            dispatch_notifications(connection)

    loop.add_reader(socket_number, take)
    try:
        async with asyncio.timeout(seconds):
            await ended
    except TimeoutError:
        pass
    finally:
        if not ended.done() or ended.cancelled():  # else the number may be another's by now
            loop.remove_reader(socket_number)


async def _answer(
    connection: psycopg.AsyncConnection[Any], query: LiteralString, values: Sequence[str] = ()
) -> None:
    """Runs the query. Raises psycopg's OperationalError where there is no answer in time.

    Cancelling would not do: psycopg then waits, without a limit, for the server to confirm it.
    """
    work = asyncio.ensure_future(connection.execute(query, values))
    work.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait({work}, timeout=PROOF_SECONDS)
    finally:
        if not work.done():
            _cut(connection)
    await work


def _cut(connection: psycopg.AsyncConnection[Any]) -> None:
    """Ends the connection on this side, so that whoever waits for it learns at once."""
    if connection.closed:
        return
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def connection_parameters() -> dict[str, Any]:
    """Those of the progress database, without what only Django understands."""
    wrapper = connections[router.db_for_write(Job)]
    given = wrapper.get_connection_params()
    keepalive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
    limits = {"connect_timeout": CONNECT_SECONDS, "application_name": "ingestion-progress-wakeups"}
    # Unacknowledged data breaks a connection after this, instead of after a quarter of an hour.
    limits["tcp_user_timeout"] = 10_000
    return keepalive | limits | {k: v for k, v in given.items() if k not in DJANGO_ONLY}
