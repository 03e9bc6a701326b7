"""psycopg: the handlers of notifications."""

from __future__ import annotations

from typing import Any

import psycopg


def dispatch_notifications(connection: psycopg.AsyncConnection[Any]) -> None:
    """Calls the connection's handlers for what `pgconn.consume_input` has read."""
    pgconn = connection.pgconn
    while notification := pgconn.notifies():
        if pgconn.notify_handler:
            pgconn.notify_handler(notification)
