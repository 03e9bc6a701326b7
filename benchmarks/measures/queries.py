"""The load of viewers on the database: queries and connections by the number of viewers."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, LiteralString, Self
from urllib.parse import urlsplit

import psycopg

from benchmarks.candidates import Candidate
from benchmarks.measures.fan_out import SETTLE_SECONDS, wait_for_all
from benchmarks.stage import Stage

CLIENT_COUNTS = (0, 10, 100, 1000, 5000)
SIGNED_IN_CLIENT_COUNTS = CLIENT_COUNTS[:-1]
STATEMENT = re.compile(rb"LOG:  (?:statement|execute [^:]*): ")
# The default, which is set explicitly, because whole periods of it are measured.
RECHECK_SECONDS = 20.0


def queries(stage: Stage, candidate: Candidate, *, clients: int, seconds: float) -> dict[str, Any]:
    """The queries a second by the number of clients, without those of the writer.

    `clients`: the largest number. The writer changes the job twice in each poll interval.
    """
    client_counts = [count for count in CLIENT_COUNTS if count <= clients]
    return _by_client_count(stage, candidate, client_counts, seconds)


def queries_of_signed_in(
    stage: Stage, candidate: Candidate, *, clients: int, seconds: float
) -> dict[str, Any]:
    """The same for a site that is not public, where each viewer is a user with a session.

    Permission is checked again in each period. Each number of clients is measured for whole
    periods, which begin in the middle between two of these checks.
    """
    client_counts = [
        client_count for client_count in SIGNED_IN_CLIENT_COUNTS if client_count <= clients
    ]
    return _by_client_count(
        stage,
        candidate,
        client_counts,
        RECHECK_SECONDS * max(1, math.ceil(seconds / RECHECK_SECONDS)),
        settle_seconds=RECHECK_SECONDS / 2,
        headers=stage.signed_in(max(client_counts)),
        PUBLIC="false",
        RECHECK_SECONDS=str(RECHECK_SECONDS),
    )


def _by_client_count(
    stage: Stage,
    candidate: Candidate,
    client_counts: Sequence[int],
    seconds: float,
    *,
    settle_seconds: float = SETTLE_SECONDS,
    headers: Path | None = None,
    **env: str,
) -> dict[str, Any]:
    lines = []
    base = 0.0
    with (
        _Database(stage.environment("postgresql")["DATABASE_URL"]) as database,
        stage.writer(candidate),
        stage.serve(candidate, **env) as server,
    ):
        for client_count in client_counts:
            with contextlib.ExitStack() as watching:
                if client_count:
                    watchers = stage.clients(candidate, server, client_count, headers=headers)
                    wait_for_all(watching.enter_context(watchers), client_count)
                time.sleep(settle_seconds)
                rate = database.statements_per_second(seconds)
                base = rate if client_count == 0 else base
                lines.append(
                    {
                        "clients": client_count,
                        "queries_per_second": round(rate - base, 2) if client_count else 0.0,
                        "connections": database.connections(),
                    }
                )
            time.sleep(SETTLE_SECONDS)  # until the last client is disconnected
    return {"writer_alone_per_second": round(base, 2), "by_clients": lines}


class _Database:
    """Counts the statements of a database in PostgreSQL's log. PostgreSQL's count of transactions
    also has those in which it delivers a `NOTIFY` to listeners.
    """

    def __init__(self, url: str) -> None:
        socket_dir, _, self._name = urlsplit(url).path.rpartition("/")
        self._connection = psycopg.connect(
            host="/" + socket_dir.strip("/"), user="postgres", dbname="postgres", autocommit=True
        )

    def __enter__(self) -> Self:
        self._connection.execute(f"ALTER DATABASE {self._name} SET log_statement = 'all'")
        self._log = Path(self._one("SHOW data_directory")) / "log"
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.execute(f"ALTER DATABASE {self._name} RESET log_statement")
        self._connection.close()

    def statements_per_second(self, seconds: float) -> float:
        with self._log.open("rb") as log:
            log.seek(0, os.SEEK_END)
            since = time.monotonic()
            time.sleep(seconds)
            return len(STATEMENT.findall(log.read())) / (time.monotonic() - since)

    def connections(self) -> int:
        return int(
            self._one("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", self._name)
        )

    def _one(self, query: LiteralString, *values: str) -> str:
        row = self._connection.execute(query, values).fetchone()
        return str(row[0]) if row else ""
