"""Asks the database which new jobs the streams with a rule show."""

import asyncio
import logging
import time

from ingestion_progress.concurrency.backoff import Backoff
from ingestion_progress.concurrency.worker_thread import WorkerThread
from ingestion_progress.feed.visibility import VisibilityQuery
from ingestion_progress.feed.watched_jobs import WatchedJobs

logger = logging.getLogger(__name__)

# The least time between two questions: new jobs of this time are asked about together.
PAUSE_SECONDS = 0.25
TIMEOUT_SECONDS = 10.0


class VisibilityReader:
    """Has a separate thread: a rule may be a slow query, and must not delay other streams."""

    def __init__(self, jobs: WatchedJobs) -> None:
        self._jobs = jobs
        self._thread: WorkerThread | None = None
        self._backoff = Backoff(
            logger,
            down="visible_jobs_failed",
            back="visible_jobs_recovered",
            first_seconds=1.0,
            last_seconds=5.0,
            level=logging.ERROR,
        )

    async def run(self) -> None:
        """Asks until it is cancelled. A failed question is logged once and asked again."""
        visibility = self._jobs.active.by_rule
        while True:
            await visibility.unknown.wait()
            visibility.unknown.clear()
            since = time.monotonic()
            if question := visibility.query():
                try:
                    await self._answer(question)
                except Exception as error:  # noqa: BLE001  (a rule is code of the project)
                    self._backoff.failed(error)
                    visibility.unknown.set()
                else:
                    self._backoff.succeeded()
            took_seconds = time.monotonic() - since
            await asyncio.sleep(max(PAUSE_SECONDS, self._backoff.pause_seconds, 2 * took_seconds))

    async def _answer(self, question: VisibilityQuery) -> None:
        if self._thread is None:
            self._thread = WorkerThread(
                "ingestion-progress-visibility", timeout_seconds=TIMEOUT_SECONDS
            )
        visible = await self._thread.run(question.ask)
        for change in self._jobs.active.by_rule.learn(question, visible):
            self._jobs.apply(change)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.close()
