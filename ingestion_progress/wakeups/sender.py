"""The thread that notifies other processes, separate from the writer thread.

A flush adds the id of its job and returns. Notifications that follow each other, or wait for a
slow transport, are merged. A notification that cannot be sent is dropped, because feeds poll.
"""

import asyncio
import contextlib
import threading

from ingestion_progress.concurrency.backoff import Backoff
from ingestion_progress.concurrency.process_thread import ProcessThread
from ingestion_progress.wakeups.transports import (
    Notification,
    Transport,
    new_backoff,
    new_transport,
    transport_name,
)

# A process sends at most one notification in this time: the first at once, later ones at its end.
INTERVAL_SECONDS = 0.05
# The jobs of one flush are written within milliseconds.
GATHER_SECONDS = 0.002
SEND_SECONDS = 5.0
# An idle thread ends, so that a process whose jobs have ended holds no connection.
IDLE_SECONDS = 3.0
EXIT_SECONDS = 1.0
# A notification about more jobs than this names none.
MAX_JOBS = 200


class Sender(ProcessThread):
    def __init__(self) -> None:
        # Below the priority of the writer: stops after its last flush.
        super().__init__("ingestion-progress-wakeups", exit_seconds=EXIT_SECONDS, exit_priority=50)

    def _reset(self) -> None:
        super()._reset()
        self._changed = threading.Condition()
        self._job_ids: set[str] = set()
        self._ended: set[str] = set()
        self._backoff = new_backoff()

    def publish(self, job_id: str, *, is_end: bool) -> None:
        """Publishes a job, from any thread, in microseconds, however slow the transport is."""
        with self._changed:
            if len(self._job_ids) <= MAX_JOBS:
                self._job_ids.add(job_id)
                if is_end:
                    self._ended.add(job_id)
            try:
                self.start()
            except RuntimeError:  # the interpreter is about to end
                self._job_ids.clear()
            self._changed.notify()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    # In the sender's thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            connection = _Connection(runner, self._backoff)
            while self._wait():
                self._pause(GATHER_SECONDS)
                self._pause(connection.send(*self._take()))
            connection.close()

    def _wait(self) -> bool:
        """Waits for something to send. Returns False if there is nothing, and the thread ends."""
        with self._changed:
            while not self._job_ids:
                is_stopping = self.stopping_since is not None
                if is_stopping or not self._changed.wait(IDLE_SECONDS):
                    if self._job_ids:  # added at the end of the wait
                        break
                    self._thread = None  # so that the next notification starts another
                    return False
            return True

    def _take(self) -> tuple[set[str], set[str]]:
        with self._changed:
            taken, self._job_ids = self._job_ids, set()
            ended, self._ended = self._ended, set()
            return (taken, ended) if len(taken) <= MAX_JOBS else (set(), set())

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.stopping_since is not None, seconds)


class _Connection:
    """The configured transport; a new one after a failure."""

    def __init__(self, runner: asyncio.Runner, backoff: Backoff) -> None:
        self._runner = runner
        self._backoff = backoff
        self._name = ""
        self._transport: Transport | None = None

    def send(self, job_ids: set[str], ended: set[str]) -> float:
        """Returns the seconds to wait before the next notification."""
        name = transport_name()
        if name != self._name:
            self.close()
        self._name = name
        if not name:
            return INTERVAL_SECONDS
        labels = {"transport": name, "direction": "send"}
        try:
            self._transport = self._transport or new_transport(name)
            notification = Notification.about(job_ids, ended)
            self._runner.run(asyncio.wait_for(self._transport.send(notification), SEND_SECONDS))
        except Exception as error:  # noqa: BLE001  (a notification may get lost)
            self._backoff.failed(error, **labels)
            self.close()
            return self._backoff.pause_seconds
        self._backoff.succeeded(**labels)
        return INTERVAL_SECONDS

    def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            with contextlib.suppress(Exception):
                self._runner.run(asyncio.wait_for(transport.close(), SEND_SECONDS))


background_sender = Sender()
