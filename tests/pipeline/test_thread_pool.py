from __future__ import annotations

import threading
import time

import pytest

from ingestion_progress.pipeline.thread_pool import Crew


def fine() -> None:
    return None


def test_every_item_is_worked_on_once():
    done: list[int] = []
    lock = threading.Lock()

    def work(number, items):
        with lock:
            done.extend(items)

    with Crew(work, name="t", size=4, capacity=3, check=fine) as crew:
        for item in range(200):
            crew.put(item)
    assert sorted(done) == list(range(200))


def test_threads_are_numbered_and_end_with_the_block():
    numbers = set()
    barrier = threading.Barrier(3)

    def work(number, items):
        barrier.wait(5)
        numbers.add(number)

    with Crew(work, name="numbered", size=3, check=fine) as crew:
        for item in range(3):
            crew.put(item)
    assert numbers == {1, 2, 3}
    assert not [t for t in threading.enumerate() if t.name.startswith("numbered")]


def test_the_queue_is_bounded_and_its_depth_is_told():
    depths: list[int] = []
    gate = threading.Event()

    def work(number, items):
        gate.wait(5)

    with Crew(work, name="t", capacity=2, check=fine, on_depth=depths.append) as crew:
        for item in range(3):
            crew.put(item)
        late = threading.Thread(target=crew.put, args=[3])
        late.start()
        late.join(0.05)
        assert late.is_alive()
        gate.set()
        late.join(5)
        assert not late.is_alive()
    assert max(depths) == 2
    assert depths[-1] == 0


def test_what_waits_is_taken_as_a_batch():
    sizes: list[int] = []
    gate = threading.Event()

    def work(number, items):
        gate.wait(5)
        sizes.append(len(items))

    with Crew(work, name="t", capacity=10, batch_size=4, check=fine) as crew:
        for item in range(9):
            crew.put(item)
        gate.set()
    assert sum(sizes) == 9
    assert max(sizes) == 4


def test_a_failure_stops_all_and_is_raised_where_the_work_is_given():
    def work(number, items):
        if items[0] == 5:
            raise ValueError("five")

    crew = Crew(work, name="failing", size=2, capacity=2, check=fine)
    with pytest.raises(ValueError, match="five"), crew:
        for item in range(10_000):
            crew.put(item)
    assert not [t for t in threading.enumerate() if t.name.startswith("failing")]


def test_threads_beside_one_that_failed_take_nothing_more():
    done: list[int] = []
    are_busy = threading.Barrier(3)
    has_failed = threading.Event()

    def work(number, items):
        (item,) = items
        if item < 2:
            are_busy.wait(5)
        if item == 0:
            raise ValueError("zero")
        assert has_failed.wait(5)
        done.append(item)

    def running() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name.startswith("pair")]

    def wait_for(count: int) -> None:
        deadline = time.monotonic() + 5
        while len(running()) > count and time.monotonic() < deadline:
            time.sleep(0.005)
        assert len(running()) == count

    crew = Crew(work, name="pair", size=2, capacity=10, check=fine)
    with pytest.raises(ValueError, match="zero"), crew:
        for item in range(8):
            crew.put(item)
        are_busy.wait(5)
        wait_for(1)
        has_failed.set()
        wait_for(0)
    assert done == [1]


def test_a_failure_on_the_last_item_is_not_lost():
    def work(number, items):
        raise ValueError("last")

    with pytest.raises(ValueError, match="last"), Crew(work, name="t", check=fine) as crew:
        crew.put(1)


def test_a_check_that_raises_ends_the_wait():
    def check():
        if time.monotonic() > until:
            raise KeyboardInterrupt

    def work(number, items):
        time.sleep(0.05)

    until = time.monotonic() + 0.1
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Crew(work, name="t", capacity=50, check=check) as crew:
        for item in range(50):
            crew.put(item)
    assert time.monotonic() - started < 1.5


def test_an_error_in_the_block_does_not_wait_for_the_queue():
    done: list[int] = []

    def work(number, items):
        time.sleep(0.02)
        done.extend(items)

    with pytest.raises(RuntimeError), Crew(work, name="t", capacity=50, check=fine) as crew:
        for item in range(50):
            crew.put(item)
        raise RuntimeError
    assert len(done) < 50
