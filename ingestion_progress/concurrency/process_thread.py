"""The background thread of a process, which outlives requests and survives forks."""

import atexit
import os
import threading
import time
from abc import ABC, abstractmethod
from multiprocessing.util import Finalize
from operator import attrgetter


class ProcessThread(ABC):
    """A daemon thread that `start` starts on demand, and again after it has ended.

    - At exit, `stop` waits up to `exit_seconds` for it. Threads with the highest `exit_priority`
      stop first, and of several with the same one those that were created last.
    - A fork waits until the thread releases `_working`. The child gets the memory but no thread:
      `_reset` sets the initial state in both.
    """

    def __init__(self, name: str, *, exit_seconds: float, exit_priority: int) -> None:
        self._name = name
        self._exit_seconds = exit_seconds
        self._exit_priority = exit_priority
        self._working = threading.Lock()
        """Held by the thread while it does what a fork must not interrupt."""
        self._reset()
        _created.insert(0, self)
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._working.release,
            after_in_child=self._after_fork_in_child,
        )

    @abstractmethod
    def _run(self) -> None:
        """The work of the thread, until `stopping_since` is set or nothing is left to do."""

    @abstractmethod
    def _wake(self) -> None:
        """Ends a wait of the thread."""

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._has_finalizer = False
        self.stopping_since: float | None = None
        """Time of `time.monotonic` when `stop` was called; None unless it waits."""

    def start(self) -> None:
        """Starts the thread unless it runs. Raises RuntimeError while the interpreter ends."""
        if self._is_running:
            return
        with self._starting:
            if self._is_running:
                return
            if not self._has_finalizer:
                # A child of multiprocessing exits without running atexit.
                Finalize(None, self.stop, exitpriority=self._exit_priority)
                self._has_finalizer = True
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            thread.start()
            self._thread = thread

    def stop(self) -> None:
        """Ends the thread once it has finished what is pending; waits for up to `exit_seconds`."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        self.stopping_since = time.monotonic()
        self._wake()
        thread.join(self._exit_seconds)
        self.stopping_since = None

    @property
    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _before_fork(self) -> None:
        self._working.acquire()

    def _after_fork_in_child(self) -> None:
        self._reset()
        self._working.release()


_created: list[ProcessThread] = []
"""The newest first."""


@atexit.register
def _stop_all() -> None:
    for thread in sorted(_created, key=attrgetter("_exit_priority"), reverse=True):
        thread.stop()
