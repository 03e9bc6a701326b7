"""The thread of a process that sends hints to others, beside its writer thread.

A flush hands over a job's id and goes on. Hints that come together, or while the carrier is
slow or away, merge into one; what cannot be sent is dropped, since feeds poll.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from multiprocessing.util import Finalize

from ingestion_progress.wakeups.backoff import Outage
from ingestion_progress.wakeups.message import Hint
from ingestion_progress.wakeups.transports import Carrier, carrier_name, new_carrier

# At most one hint of a process in this time, on the leading and the trailing edge.
INTERVAL_SECONDS = 0.05
# Jobs that one flush writes are a millisecond apart.
GATHER_SECONDS = 0.002
SEND_SECONDS = 5.0
# Its connection is closed after that: a process whose jobs have ended holds none.
IDLE_SECONDS = 3.0
EXIT_SECONDS = 1.0
# Beyond that a hint names no job.
MAX_JOBS = 200


class Sender:
    def __init__(self) -> None:
        self._reset()
        # Registered before the writer's, so that it runs after the writer's last flush.
        atexit.register(self.stop)
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """Also in a forked child, which has no such thread and must not use its connection."""
        self._news = threading.Condition()
        self._job_ids: set[str] = set()
        self._ended: set[str] = set()
        self._thread: threading.Thread | None = None
        self._is_stopping = self._is_finalized = False
        self._outage = Outage("send")

    def publish(self, job_id: str, *, is_end: bool) -> None:
        """From any thread. Takes microseconds, whatever the carrier does."""
        with self._news:
            if len(self._job_ids) <= MAX_JOBS:
                self._job_ids.add(job_id)
                if is_end:
                    self._ended.add(job_id)
            if self._thread is None:
                self._start()
            self._news.notify()

    def stop(self) -> None:
        """Sends what is pending, if that can be done quickly."""
        with self._news:
            thread = self._thread
            self._is_stopping = True
            self._news.notify()
        if thread is not None:
            thread.join(EXIT_SECONDS)
        self._is_stopping = False

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="ingestion-progress-wakeups", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is about to end
            self._job_ids.clear()
            return
        self._thread = thread
        if not self._is_finalized:
            # A child of multiprocessing leaves without atexit; the writer's priority is 100.
            Finalize(None, self.stop, exitpriority=50)
            self._is_finalized = True

    # In the sender's thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            line = _Line(runner, self._outage)
            while self._wait():
                self._pause(GATHER_SECONDS)
                self._pause(line.send(*self._take()))
            line.close()

    def _wait(self) -> bool:
        """Until there is something to send; False: there is not, and the thread ends."""
        with self._news:
            while not self._job_ids:
                if self._is_stopping or not self._news.wait(IDLE_SECONDS):
                    if self._job_ids:  # it came with the end of the wait
                        break
                    self._thread = None
                    return False
            return True

    def _take(self) -> tuple[set[str], set[str]]:
        with self._news:
            taken, self._job_ids = self._job_ids, set()
            ended, self._ended = self._ended, set()
            return (taken, ended) if len(taken) <= MAX_JOBS else (set(), set())

    def _pause(self, seconds: float) -> None:
        with self._news:
            self._news.wait_for(lambda: self._is_stopping, seconds)


class _Line:
    """The sender's way out: the carrier that is configured now, given up when it fails."""

    def __init__(self, runner: asyncio.Runner, outage: Outage) -> None:
        self._runner = runner
        self._outage = outage
        self._name = ""
        self._carrier: Carrier | None = None

    def send(self, job_ids: set[str], ended: set[str]) -> float:
        """Returns the seconds to wait before the next hint."""
        name = carrier_name()
        if name != self._name:
            self.close()
        self._name = name
        if not name:
            return INTERVAL_SECONDS
        try:
            self._carrier = self._carrier or new_carrier(name)
            hint = Hint.about(job_ids, ended)
            self._runner.run(asyncio.wait_for(self._carrier.send(hint), SEND_SECONDS))
        except Exception as error:  # noqa: BLE001  (a hint may get lost, whatever the reason)
            self._outage.goes_on(name, error)
            self.close()
            return self._outage.pause_seconds
        self._outage.is_over(name)
        return INTERVAL_SECONDS

    def close(self) -> None:
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            with contextlib.suppress(Exception):
                self._runner.run(asyncio.wait_for(carrier.close(), SEND_SECONDS))


sender = Sender()
