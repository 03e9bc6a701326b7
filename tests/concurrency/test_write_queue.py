"""Threads of one process write to SQLite in turn; databases with locks of rows need no queue."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.db import connection, transaction

from ingestion_progress import track
from ingestion_progress.concurrency.write_queue import WriteQueue, write_queue_of, write_transaction
from ingestion_progress.pipeline.models import Document, Edition
from ingestion_progress.pipeline.stages import Chunk, Extraction
from ingestion_progress.pipeline.stores.database_graph import DatabaseGraphWriter
from ingestion_progress.testing import synchronous_tracking
from tests.support.tracking import eventually

LONG_SECONDS = 60.0


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
