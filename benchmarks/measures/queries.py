"""What the database notices of viewers: queries, connections and time, whatever their number."""

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

CROWDS = (0, 10, 100, 1000, 5000)
SIGNED_IN_CROWDS = CROWDS[:-1]
STATEMENT = re.compile(rb"LOG:  (?:statement|execute [^:]*): ")
# As it ships. Given to the server, so that what is measured are whole periods of it.
RECHECK_SECONDS = 20.0


def queries(stage: Stage, candidate: Candidate, *, clients: int, seconds: float) -> dict[str, Any]:
    """A second's queries by the number of clients, without those of the writer alone.

    `clients` bounds the crowds. The writer changes the job twice in each poll interval.
    """
    crowds = [crowd for crowd in CROWDS if crowd <= clients]
    return _by_crowd(stage, candidate, crowds, seconds)


def queries_of_signed_in(
    stage: Stage, candidate: Candidate, *, clients: int, seconds: float
) -> dict[str, Any]:
    """The same of a closed site, whose viewers are users with a session each.

    Whether they still may watch is asked again in each period, of which each number of clients
    gets whole ones: from the middle between two of those inquiries on.
    """
    crowds = [crowd for crowd in SIGNED_IN_CROWDS if crowd <= clients]
    return _by_crowd(
        stage,
        candidate,
        crowds,
        RECHECK_SECONDS * max(1, math.ceil(seconds / RECHECK_SECONDS)),
        settle_seconds=RECHECK_SECONDS / 2,
        headers=stage.signed_in(max(crowds)),
        PUBLIC="false",
        RECHECK_SECONDS=str(RECHECK_SECONDS),
    )


def _by_crowd(
    stage: Stage,
    candidate: Candidate,
    crowds: Sequence[int],
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
        for crowd in crowds:
            with contextlib.ExitStack() as watching:
                if crowd:
                    watchers = stage.clients(candidate, server, crowd, headers=headers)
                    wait_for_all(watching.enter_context(watchers), crowd)
                time.sleep(settle_seconds)
                rate = database.statements_per_second(seconds)
                base = rate if crowd == 0 else base
                lines.append(
                    {
                        "clients": crowd,
                        "queries_per_second": round(rate - base, 2) if crowd else 0.0,
                        "connections": database.connections(),
                    }
                )
            time.sleep(SETTLE_SECONDS)  # until the last of them has left
    return {"writer_alone_per_second": round(base, 2), "by_clients": lines}


class _Database:
    """What PostgreSQL's log has of a database: each statement. Its count of transactions has more,
    those in which it hands a `NOTIFY` to who listens.
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
