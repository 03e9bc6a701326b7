"""Threads and processes write to SQLite in turn; databases with locks of rows need no queue."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, connections, transaction

from ingestion_progress import track
from ingestion_progress.concurrency.write_queue import (
    ProcessQueue,
    WriteQueue,
    write_queue_of,
    write_transaction,
)
from ingestion_progress.pipeline.models import Document, Edition
from ingestion_progress.pipeline.stages import Chunk, Extraction
from ingestion_progress.pipeline.stores.database_graph import DatabaseGraphWriter
from ingestion_progress.testing import synchronous_tracking
from tests.support.tracking import eventually

LONG_SECONDS = 60.0
SQLITE = {"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {}, "TEST": {}}


def test_turn_goes_to_the_thread_that_has_waited_longest():
    queue, order = WriteQueue(), []

    def write(number: int) -> None:
        queue.take(LONG_SECONDS)
        order.append(number)
        queue.pass_on()

    assert queue.take(LONG_SECONDS)
    threads = [threading.Thread(target=write, args=[number]) for number in range(5)]
    for waiting, thread in enumerate(threads, start=1):
        thread.start()
        eventually(lambda waiting=waiting: queue.waiting == waiting)
    queue.pass_on()
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]
    assert queue.take(0.0)


def test_thread_that_stops_waiting_does_not_get_the_turn():
    queue = WriteQueue()
    assert queue.take(LONG_SECONDS)
    assert not queue.take(0.001)
    assert queue.waiting == 0
    queue.pass_on()
    assert queue.take(0.0)


@pytest.fixture
def graph_transactions(transactional_db) -> Iterator[list[int]]:
    """How many transactions a thread has written, one after the other, into the graph."""
    Document.objects.create(id="d", name="bees.md", size_bytes=1)
    Edition.objects.create(document_id="d", epoch="epoch", job_id="job")
    stop, count = threading.Event(), [0]

    def write() -> None:
        graph = DatabaseGraphWriter("d", "job", "epoch")
        while not stop.is_set():
            number = count[0]
            names = {f"{number}-{each}": f"{number}-{each}" for each in range(20)}
            graph.write([(Chunk(key=f"c-{number}", text="", page=1), Extraction(names, ()))])
            count[0] += 1
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        eventually(lambda: count[0] > 0)
        yield count
    finally:
        stop.set()
        thread.join()


@pytest.mark.database
def test_tracker_and_graph_write_in_turn(graph_transactions):
    before = graph_transactions[0]
    with synchronous_tracking(), track("a.pdf", stages=["one"]) as job:
        for _ in range(30):
            job.stage("one").advance()
    # One between two flushes, and few more or less while a thread waits for Python's lock. Without
    # turns there are hundreds or none.
    if connection.vendor == "sqlite":
        assert 15 <= graph_transactions[0] - before <= 60


def is_free() -> bool:
    queue = write_queue_of(connection)
    is_free = queue.take(0.0)
    if is_free:
        queue.pass_on()
    return is_free


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_only_a_transaction_on_sqlite_has_a_turn_also_if_it_fails():
    has_queue = connection.vendor == "sqlite"
    with write_transaction("default"):
        assert is_free() == (not has_queue)
        with write_transaction("default"):  # has the turn already
            pass
        assert is_free() == (not has_queue)
    assert is_free()
    with pytest.raises(ZeroDivisionError), write_transaction("default"):
        raise ZeroDivisionError
    assert is_free()


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_what_follows_a_commit_can_write():
    def write() -> None:
        assert is_free()
        with write_transaction("default"):
            Document.objects.create(id="d", name="bees.md", size_bytes=1)

    with write_transaction("default"):
        transaction.on_commit(write)
    assert Document.objects.exists()


OTHER_WRITER = """
import os, sys, time
from ingestion_progress.concurrency.write_queue import ProcessQueue
turns = ProcessQueue(sys.argv[1])
while turns.take(60):
    os.write(1, b".")
    time.sleep(0.005)
    turns.pass_on()
"""


@contextmanager
def other_writer(database: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes one transaction after the other. A byte of its output is a turn."""
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_WRITER, database], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        try:
            assert process.stdout.read(1)
            os.set_blocking(process.stdout.fileno(), False)
            yield process
        finally:
            process.kill()


def turns_of(process: subprocess.Popen[bytes]) -> int:
    """Those since the last call."""
    assert process.stdout
    return len(process.stdout.read() or b"")


@pytest.mark.once
def test_process_that_waits_is_served_before_the_last_one_is_served_again(tmp_path):
    turns = ProcessQueue(str(tmp_path / "db"))
    with other_writer(str(tmp_path / "db")) as other:
        between = []
        for _ in range(20):
            eventually(lambda: turns_of(other))
            assert turns.take(LONG_SECONDS)
            between.append(turns_of(other))
            turns.pass_on()
    # Its turn when this process becomes the next one, and turns while this one is not running.
    assert statistics.median(between) <= 2


@pytest.mark.once
def test_turn_of_a_process_that_is_killed_is_free(tmp_path):
    turns = ProcessQueue(str(tmp_path / "db"))
    with other_writer(str(tmp_path / "db")) as other:
        other.send_signal(signal.SIGSTOP)
        other.kill()
        other.wait()
        assert turns.take(LONG_SECONDS)


@pytest.mark.once
def test_stopped_process_delays_a_transaction_and_does_not_prevent_it(tmp_path):
    turns = ProcessQueue(str(tmp_path / "db"))
    with other_writer(str(tmp_path / "db")) as other:
        while True:  # until it is stopped in its turn
            other.send_signal(signal.SIGSTOP)
            if not turns.take(0.05):
                break
            turns.pass_on()
            other.send_signal(signal.SIGCONT)
        other.send_signal(signal.SIGCONT)
        assert turns.take(LONG_SECONDS)


def test_without_a_file_for_their_locks_processes_have_no_turns(tmp_path):
    assert not ProcessQueue(str(tmp_path / "no-folder" / "db")).take(LONG_SECONDS)


@pytest.mark.once
def test_processes_take_turns_for_a_database_in_a_file(tmp_path, django_db_blocker):
    path = str(tmp_path / "db.sqlite3")
    with django_db_blocker.unblock(), alias_of(path), other_writer(path) as other:
        with write_transaction("other"):
            turns_of(other)
            time.sleep(0.1)
            assert not turns_of(other)
        eventually(lambda: turns_of(other))


@contextmanager
def alias_of(path: str) -> Iterator[None]:
    connections.databases["other"] = {**connections.databases["default"], **SQLITE, "NAME": path}
    try:
        yield
    finally:
        connections["other"].close()
        del connections["other"]
        del connections.databases["other"]
