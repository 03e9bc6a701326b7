"""When the background thread of a process starts, stops and starts again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from ingestion_progress.concurrency.process_thread import ProcessThread

# The thread holds `_working` while the process forks; only then the child is made.
EXITS = """
import os, queue, sys, time
from ingestion_progress.concurrency.process_thread import ProcessThread

class Printer(ProcessThread):
    def __init__(self, name, exit_priority):
        self.name = name
        super().__init__(name, exit_seconds=5, exit_priority=exit_priority)

    def _reset(self):
        super()._reset()
        self.inbox = queue.SimpleQueue()
        self.busy = False

    def _run(self):
        while self.stopping_since is None:
            self.inbox.get()
            with self._working:
                self.busy = True
                time.sleep(0.2)
                self.busy = False
        print(self.name, flush=True)

    def _wake(self):
        self.inbox.put(None)

first, last = Printer("made first", 50), Printer("made last", 100)
"""
IN_ORDER = """
after = Printer("made after all", 50)
first.start()
last.start()
after.start()
"""
IN_ORDER_OF_A_CHILD = """
import multiprocessing
def work():
    last.start()
    first.start()
child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
"""
FORK = """
first.start()
first._wake()
while not first.busy:
    time.sleep(0.001)
pid = os.fork()
if pid == 0:
    print(first.busy, first._thread is None, first._working.locked(), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
"""


def printed_by(source: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", EXITS + source],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.splitlines()


class Waiting(ProcessThread):
    """Waits until it is woken, and counts how often it ran."""

    def __init__(self) -> None:
        self.runs = 0
        self.woken = threading.Event()
        super().__init__("waiting", exit_seconds=5, exit_priority=0)

    def _run(self) -> None:
        self.runs += 1
        assert self.woken.wait(60)
        self.woken.clear()

    def _wake(self) -> None:
        self.woken.set()


@pytest.fixture
def thread() -> Iterator[Waiting]:
    thread = Waiting()
    yield thread
    thread.stop()


def test_thread_that_runs_is_not_started_again(thread):
    starters = [threading.Thread(target=thread.start) for _ in range(8)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    thread.stop()
    assert thread.runs == 1


def test_thread_that_has_stopped_starts_again(thread):
    for _ in range(2):
        thread.start()
        thread.stop()
        assert thread.stopping_since is None
    assert thread.runs == 2


def test_thread_that_hangs_does_not_keep_the_process_from_exiting(thread):
    thread.start()
    assert thread._thread.daemon


def test_thread_that_never_started_has_nothing_to_stop(thread):
    thread.stop()
    assert not thread.woken.is_set()


def test_process_that_exits_stops_first_what_has_the_highest_priority_or_was_made_last():
    assert printed_by(IN_ORDER) == ["made last", "made after all", "made first"]


def test_child_of_multiprocessing_stops_first_what_has_the_highest_priority():
    assert printed_by(IN_ORDER_OF_A_CHILD) == ["made last", "made first"]


def test_fork_waits_for_work_and_the_child_has_no_thread():
    assert printed_by(FORK) == ["False True False", "made first"]
