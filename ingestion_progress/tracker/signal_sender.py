"""Sends Django signals after the COMMIT, in a thread that delays no write and no heartbeat."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import close_old_connections, connections, transaction
from django.dispatch import Signal

from ingestion_progress.concurrency.process_thread import ProcessThread
from ingestion_progress.models import Job
from ingestion_progress.tracker.database import progress_alias
from ingestion_progress.tracker.writer import background_writer, current_writer

# An idle thread ends, with its connections.
IDLE_SECONDS = 3.0
EXIT_SECONDS = 5.0


class SignalSender(ProcessThread):
    """Calls receivers one after the other, in the order of the changes of this process."""

    def __init__(self) -> None:
        super().__init__("ingestion-progress-signals", exit_seconds=EXIT_SECONDS, exit_priority=50)

    def _reset(self) -> None:
        super()._reset()
        self._changed = threading.Condition()
        self._pending: deque[Callable[[], object]] = deque()

    def put(self, send: Callable[[], object]) -> None:
        """Sends a signal, from any thread. Trackers of tests send synchronously, as they write."""
        if current_writer() is not background_writer:
            send()
            return
        with self._changed:
            self._pending.append(send)
            try:
                self.start()
            except RuntimeError:  # the interpreter is about to end
                self._pending.pop()
            else:
                self._changed.notify()
                return
        send()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        while (send := self._next()) is not None:
            close_old_connections()
            send()
            close_old_connections()
        connections.close_all()

    def _next(self) -> Callable[[], object] | None:
        """Waits for the next one. None if there is none, and the thread ends."""
        with self._changed:
            while not self._pending:
                is_stopping = self.stopping_since is not None
                if is_stopping or not self._changed.wait(IDLE_SECONDS):
                    if self._pending:  # added at the end of the wait
                        break
                    self._thread = None  # so that the next one starts another thread
                    return None
            return self._pending.popleft()


signal_sender = SignalSender()


def send_on_commit(signal: Signal, job: Job, **values: Any) -> None:
    """Sends the signal after the COMMIT, with the job as it is now.

    To be called in the transaction that writes the job. Django logs receivers that raise.
    """
    if not signal.receivers:
        return
    send = partial(signal.send_robust, sender=Job, job=copy.copy(job), **values)

    def put() -> None:  # no partial: Django logs the name of a callback that fails
        signal_sender.put(send)

    transaction.on_commit(put, using=progress_alias(), robust=True)
