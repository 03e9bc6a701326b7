from __future__ import annotations

import threading
import time

import pytest

from ingestion_progress.concurrency import thread_pool
from ingestion_progress.concurrency.thread_pool import (
    CHECK_SECONDS,
    STOP_SECONDS,
    Stop,
    ThreadPool,
)
from ingestion_progress.tracker.heartbeats import CANCELLATION_SECONDS
from tests.support.tracking import eventually


def fine() -> None:
    return None


def test_every_item_is_processed_once():
    done: list[int] = []
    lock = threading.Lock()

    def work(number, items):
        with lock:
            done.extend(items)

    with ThreadPool(work, name="t", size=4, capacity=3, check=fine) as pool:
        for item in range(200):
            pool.put(item)
    assert sorted(done) == list(range(200))


def test_the_end_of_the_work_wakes_threads_that_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(thread_pool, "CHECK_SECONDS", 30)
    done: list[int] = []
    with ThreadPool(lambda _, items: done.extend(items), name="t", size=4, check=fine) as pool:
        pool.put(1)
        eventually(lambda: done == [1])
        started = time.monotonic()
    assert time.monotonic() - started < thread_pool.CHECK_SECONDS


def test_threads_are_numbered_and_end_with_the_block():
    numbers = set()
    barrier = threading.Barrier(3)

    def work(number, items):
        barrier.wait(30)
        numbers.add(number)

    with ThreadPool(work, name="numbered", size=3, check=fine) as pool:
        for item in range(3):
            pool.put(item)
    assert numbers == {1, 2, 3}
    assert not [t for t in threading.enumerate() if t.name.startswith("numbered")]


def test_an_item_waits_for_others_of_its_batch():
    batches: list[list[int]] = []

    def work(number, items):
        batches.append(list(items))

    with ThreadPool(work, name="t", batch_size=3, gather_seconds=60, check=fine) as pool:
        pool.put(1)
        pool.put(2)
        assert not batches
        pool.put(3)
        eventually(lambda: batches == [[1, 2, 3]])
        pool.put(4)  # the end of the block does not wait for a full batch
    assert batches == [[1, 2, 3], [4]]


def test_an_item_does_not_wait_for_others_that_do_not_come():
    batches: list[list[int]] = []

    def work(number, items):
        batches.append(list(items))

    with ThreadPool(work, name="t", batch_size=3, gather_seconds=0.01, check=fine) as pool:
        pool.put(1)
        eventually(lambda: batches == [[1]])


def test_queue_is_bounded_and_its_depth_is_reported():
    depths: list[int] = []
    gate = threading.Event()

    def work(number, items):
        gate.wait(30)

    with ThreadPool(work, name="t", capacity=2, check=fine, on_depth=depths.append) as pool:
        for item in range(3):
            pool.put(item)
        late = threading.Thread(target=pool.put, args=[3])
        late.start()
        late.join(0.05)
        assert late.is_alive()
        gate.set()
        late.join(30)
        assert not late.is_alive()
    assert max(depths) == 2
    assert depths[-1] == 0


def test_waiting_items_are_processed_as_a_batch():
    sizes: list[int] = []
    gate = threading.Event()

    def work(number, items):
        gate.wait(30)
        sizes.append(len(items))

    with ThreadPool(work, name="t", capacity=10, batch_size=4, check=fine) as pool:
        for item in range(9):
            pool.put(item)
        gate.set()
    assert sum(sizes) == 9
    assert max(sizes) == 4


def test_exception_of_a_thread_stops_the_pool_and_is_raised():
    def work(number, items):
        if items[0] == 5:
            raise ValueError("five")

    pool = ThreadPool(work, name="failing", size=2, capacity=2, check=fine)
    with pytest.raises(ValueError, match="five"), pool:
        for item in range(10_000):
            pool.put(item)
    assert not [t for t in threading.enumerate() if t.name.startswith("failing")]


def test_other_threads_stop_after_their_current_item():
    done: list[int] = []
    are_busy = threading.Barrier(3)
    has_failed = threading.Event()

    def work(number, items):
        (item,) = items
        if item < 2:
            are_busy.wait(30)
        if item == 0:
            raise ValueError("zero")
        assert has_failed.wait(30)
        done.append(item)

    def running() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name.startswith("pair")]

    def wait_for(count: int) -> None:
        deadline = time.monotonic() + 60
        while len(running()) > count and time.monotonic() < deadline:
            time.sleep(0.005)
        assert len(running()) == count

    pool = ThreadPool(work, name="pair", size=2, capacity=10, check=fine)
    with pytest.raises(ValueError, match="zero"), pool:
        for item in range(8):
            pool.put(item)
        are_busy.wait(30)
        wait_for(1)
        has_failed.set()
        wait_for(0)
    assert done == [1]


def test_exception_on_the_last_item_is_raised():
    def work(number, items):
        raise ValueError("last")

    with pytest.raises(ValueError, match="last"), ThreadPool(work, name="t", check=fine) as pool:
        pool.put(1)


def test_check_that_raises_stops_the_pool():
    def check():
        if time.monotonic() > until:
            raise KeyboardInterrupt

    def work(number, items):
        time.sleep(0.05)

    until = time.monotonic() + 0.1
    started = time.monotonic()
    pool = ThreadPool(work, name="t", capacity=50, check=check)
    with pytest.raises(KeyboardInterrupt), pool:
        for item in range(50):
            pool.put(item)
    assert time.monotonic() - started < 1.5


def test_exception_in_the_block_does_not_wait_for_the_queue():
    done: list[int] = []

    def work(number, items):
        time.sleep(0.02)
        done.extend(items)

    with pytest.raises(RuntimeError), ThreadPool(work, name="t", capacity=50, check=fine) as pool:
        for item in range(50):
            pool.put(item)
        raise RuntimeError
    assert len(done) < 50


def test_pools_that_share_a_stop_end_together_and_raise_the_same_failure():
    done: list[int] = []
    has_failed = threading.Event()

    def fail(number, items):
        has_failed.set()
        raise ValueError("first")

    def work(number, items):
        has_failed.wait(30)
        time.sleep(0.02)
        done.extend(items)

    stop = Stop()
    outer = ThreadPool(fail, name="outer-pool", check=fine, stop=stop)
    inner = ThreadPool(work, name="inner-pool", capacity=50, check=fine, stop=stop)
    with pytest.raises(ValueError, match="first"), outer, inner:
        for item in range(50):
            inner.put(item)
        outer.put(0)
    assert len(done) < 50
    eventually(lambda: not [t for t in threading.enumerate() if "-pool-" in t.name])


def test_pools_that_share_a_stop_wait_once_for_threads_that_hang():
    gate = threading.Event()

    def hang(number, items):
        gate.wait(30)

    stop = Stop()
    pools = [ThreadPool(hang, name="hanging", check=fine, stop=stop) for _ in range(3)]
    with pytest.raises(RuntimeError), pools[0], pools[1], pools[2]:
        for pool in pools:
            pool.put(1)
        raise RuntimeError
    assert -STOP_SECONDS < stop.seconds_left <= 0
    gate.set()


def test_a_cancelled_ingestion_ends_within_two_seconds_of_waiting():
    """It is noticed; a thread ends its wait for an item; the pools stop."""
    assert CANCELLATION_SECONDS + CHECK_SECONDS + STOP_SECONDS <= 2
