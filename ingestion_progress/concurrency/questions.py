"""Questions to a database that may never answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from django.db import connections

Answer = TypeVar("Answer")

# Less than the patience of those who ask: load balancers commonly have 5 s.
ANSWER_SECONDS = 2.0


class Question(Generic[Answer]):
    """Put to the database once at a time, however many ask us: one that never answers holds up
    one thread, which is a daemon, so that it does not hold up the end of the process.
    """

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._pending: Future[Answer] | None = None

    async def answer(self) -> Answer:
        """Raises what `ask` raised, or TimeoutError."""
        answer = asyncio.wrap_future(self._put())
        # One that comes too late, and is an error, is nobody's.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Not cancelled when time is up: others may wait for the same answer.
        done, _ = await asyncio.wait({answer}, timeout=ANSWER_SECONDS)
        if not done:
            raise TimeoutError
        return answer.result()

    def _put(self) -> Future[Answer]:
        with self._lock:
            if self._pending is None or self._pending.done():
                self._pending = Future()
                self._pending.set_running_or_notify_cancel()  # nobody can cancel it now
                threading.Thread(
                    target=self._work,
                    args=(self._pending,),
                    name="ingestion-progress-question",
                    daemon=True,
                ).start()
            return self._pending

    def _work(self, pending: Future[Answer]) -> None:
        try:
            answer = self._ask()
        except Exception as error:  # noqa: BLE001  (it is the asker's to handle)
            connections.close_all()  # of this thread
            pending.set_exception(error)
        else:
            connections.close_all()
            pending.set_result(answer)
