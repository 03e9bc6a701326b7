"""The shipped application with instruments. The paced measurement does not use it.

At full speed it publishes states of the watched jobs through the feed as fast as the event loop
runs: to the real subscriptions, mailboxes, view and response, without a wait for the database.
`BENCH_WRITER` runs the tracker in this process. `GET /bench/streams` returns, without Django, how
many subscribers the feed has.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from django.utils import timezone

from benchmarks.apps.pacing import SIGNAL, is_at_full_speed, keep_publishing
from progress_project.asgi import application as shipped

started: list[object] = []


class Flood:
    """Publishes the current state of each watched job, encoded by the feed, to all subscribers."""

    def __init__(self) -> None:
        # Imported here, because Django must be set up first.
        from ingestion_progress.feed import get_feed

        self.feed = get_feed()
        self._sent_before = 0

    def publish(self) -> None:
        self._sent_before = self.feed.counts.frames
        from ingestion_progress.feed.job_state import JobState

        clock = time.monotonic()
        for job in list(self.feed._jobs.by_id.values()):  # noqa: SLF001
            if isinstance(job.state, JobState):
                job.published_at = 0.0  # as if the throttle's interval were over
                now = timezone.now()
                job.offer(JobState(job.state.snapshot, now, now), clock)

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
    from ingestion_progress.feed import get_feed

    body = b"%d" % get_feed().subscriber_count
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
