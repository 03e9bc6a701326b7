"""Recordings of HTTP exchanges: one plain text file in `tests/streams/recordings/` per scenario.

A test compares its exchanges with the file of its name. `RECORD=1` in the environment writes the
files instead; read their diff before you commit it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from tests.support.live import LiveServer
from tests.support.raw_http import Exchange

Bounds: TypeAlias = tuple[int, int]

FOLDER = Path(__file__).parents[1] / "streams" / "recordings"
IS_RECORDING = os.environ.get("RECORD") == "1"

API = "/api/v1/admin/ingestion"
ALL = API + "/progress"
JOB = API + "/jobs/report-1/progress"
# The end of each state of a job that has not ended.
STATE = b"\nevent: job_state\n"
KEEPALIVE = b": keepalive\n\n"
# Short intervals, no keep-alives, and no history.
QUICK = {
    "POLL_INTERVAL_SECONDS": "0.05",
    "THROTTLE_SECONDS": "0.05",
    "KEEPALIVE_SECONDS": "60",
    "WAKEUPS": "off",
    "FORMER_JOBS": "0",  # their times differ from run to run
}
# The wait after a lost connection, which each stream sends when it begins.
AFTER_CUT_MS = (1000, 5000)

VERSION = re.compile(r"\b([0-9a-f]{12})-(\d+)-\d{13}\b")
CURSOR = re.compile(r"((?:^id: |[Ll]ast[-_][Ee]vent[-_][Ii][Dd](?:: |=)))\d{13}\b", re.MULTILINE)
TIMING = re.compile(
    r'"started_at":[1-9][\d.]*,"elapsed_ms":\d+,"estimated_remaining_ms":(\d+)', re.ASCII
)
FORECAST = re.compile(r'"((?:likely|low|high)_ms)":[1-9]\d*', re.ASCII)
DUE = re.compile(r'"(due_at|heartbeat_at)":[\d.]+', re.ASCII)
DURATION = re.compile(r'"duration_ms":[1-9]\d*')
BATCH_PROGRESS = re.compile(r"event: batch_progress\ndata: .*\n\n")
IDLE = re.compile(r"\bidle-[0-9a-f]{24}\b")
TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+")
SESSION = re.compile(r"\bsessionid=\w+")
RETRY = re.compile(r"^retry: (\d+)$", re.MULTILINE)


def normalised(text: str, retries: Sequence[Bounds]) -> str:
    """Replaces what differs from run to run, and nothing else:

    - the epoch and the time of a resume id and of an `ETag`; the revision stays
    - the time that is the `id` of streams of many jobs, and the digest in `idle-…`
    - times and durations other than 0
    - `batch_progress`, whose moment is not that of a state, is left out
    - tokens and sessions of a request
    - the random wait in `retry:`
    """
    epochs: dict[str, str] = {}

    def version(match: re.Match[str]) -> str:
        epoch = epochs.setdefault(match[1], f"EPOCH{len(epochs) + 1}")
        return f"{epoch}-{match[2]}-TIME"

    def timing(match: re.Match[str]) -> str:
        remaining = "0" if match[1] == "0" else "MS"
        return f'"started_at":TIME,"elapsed_ms":MS,"estimated_remaining_ms":{remaining}'

    text = VERSION.sub(version, text)
    text = CURSOR.sub(r"\1TIME", text)
    text = TIMING.sub(timing, text)
    text = FORECAST.sub(r'"\1":MS', text)
    text = DUE.sub(r'"\1":TIME', text)
    text = DURATION.sub('"duration_ms":MS', text)
    text = BATCH_PROGRESS.sub("", text)
    text = IDLE.sub("idle-DIGEST", text)
    text = TOKEN.sub("TOKEN", text)
    text = SESSION.sub("sessionid=SESSION", text)
    return without_chance(text, retries)


def without_chance(text: str, retries: Sequence[Bounds]) -> str:
    """Replaces the random wait in `retry:`, which has to lie within the next of `retries`."""
    bounds = iter(retries)

    def retry(match: re.Match[str]) -> str:
        first, last = next(bounds, AFTER_CUT_MS)
        assert first <= int(match[1]) <= last, f"{match[0]} is not within {first} to {last}"
        return f"retry: {first} to {last}"

    return RETRY.sub(retry, text)


def transcript(exchange: Exchange) -> str:
    """The request, the head of the response, and the bytes of its body as they are."""
    request = [f"> {exchange.method} {exchange.target} HTTP/{exchange.version}"]
    request += [f"> {name}: {value}" for name, value in exchange.headers.items()]
    head = [exchange.status_line, *exchange.header_lines]
    end = "--- end" if exchange.is_over else "--- goes on"
    return "\n".join([*request, *head, "", exchange.body.decode() + end, ""])


class Recording:
    """The exchanges of one scenario, in their order."""

    def __init__(self, name: str) -> None:
        self._file = FOLDER / f"{name.replace('[', '-').rstrip(']')}.txt"
        self._exchanges: list[Exchange] = []

    @contextmanager
    def ask(
        self, server: LiveServer, path: str, *, method: str = "GET", version: str = "1.1", **headers
    ) -> Iterator[Exchange]:
        """A request of the scenario; the block reads from it. `last_event_id` is a header."""
        named = {name.replace("_", "-").title(): value for name, value in headers.items()}
        with Exchange(server.url + path, named, method, version) as exchange:
            self._exchanges.append(exchange)
            yield exchange

    def get(self, server: LiveServer, path: str, **more: str) -> Exchange:
        """The whole response."""
        with self.ask(server, path, **more) as exchange:
            return exchange.read_to_end()

    def compare(self, *, retries: Sequence[Bounds] = (), is_exact: bool = False) -> None:
        """Fails if the exchanges differ from those in the file. `is_exact`: compares everything
        except the wait in `retry:`.

        `retries`: bounds in milliseconds of each `retry:`, if they are not the usual ones.
        """
        text = "\n".join(transcript(exchange) for exchange in self._exchanges)
        seen = without_chance(text, retries) if is_exact else normalised(text, retries)
        if IS_RECORDING:
            self._file.write_text(seen)
            return
        assert self._file.exists(), f"{self._file} has to be recorded: set RECORD=1"
        assert seen == self._file.read_text()
