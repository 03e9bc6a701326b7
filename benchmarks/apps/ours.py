"""The shipped application with an instrument beside it; never the paced measurement.

At full speed it publishes states of the watched jobs through the feed as fast as the event
loop takes them: to the real watches, mailboxes, view and response, with everything but the
database's say about when. `BENCH_WRITER` runs the tracker in this process. `GET /bench/streams`
answers in front of Django how many subscribers the feed has.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from django.apps import apps
from django.utils import timezone

from benchmarks.apps.pacing import SIGNAL, is_at_full_speed, keep_publishing
from progress_project.asgi import application as shipped

started: list[object] = []


class Flood:
    """Offers each watch its state as of now, encoded by the feed; waits until all have taken it."""

    def __init__(self) -> None:
        self.feed: Any = apps.get_app_config("ingestion_progress").feed
        self._sent_before = 0
        # Its modules are imported once Django is set up.
        from ingestion_progress.feed.job_state import State

        self._state_of = State.of

    def publish(self) -> None:
        self._sent_before = self.feed.counts.frames
        clock = time.monotonic()
        for watch in list(self.feed._watches.values()):  # noqa: SLF001
            if watch.state is not None and watch.state.snapshot is not None:
                watch.published_at = 0.0  # as if the throttle's interval were over
                watch.offer(self._state_of(watch.state.snapshot, timezone.now()), clock)

    def has_arrived(self) -> bool:
        sent: int = self.feed.counts.frames - self._sent_before
        return 0 < self.feed.subscriber_count <= sent


async def _flood() -> None:
    while not is_at_full_speed.is_set():  # noqa: ASYNC110  (set by a thread)
        await asyncio.sleep(0.05)
    flood = Flood()
    await keep_publishing(flood.publish, flood.has_arrived)


def _start() -> None:
    started.append(True)
    if SIGNAL:
        work = _flood()
        started.append(asyncio.get_running_loop().create_task(work, context=contextvars.Context()))
    if interval := os.environ.get("BENCH_WRITER"):
        from benchmarks.writer import write_for_ever

        threading.Thread(target=write_for_ever, args=(float(interval),), daemon=True).start()


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        return
    if scope["path"] != "/bench/streams":
        if not started:
            _start()
        await shipped(scope, receive, send)
        return
    feed: Any = apps.get_app_config("ingestion_progress").feed  # type: ignore[attr-defined]
    body = b"%d" % feed.subscriber_count
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
