"""Blocking calls in worker threads: order, context, cancellation, time-outs, connections."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref

import pytest
from asgiref.local import Local
from asgiref.sync import async_to_sync
from django.db import OperationalError, connection
from django.utils import translation

from ingestion_progress.concurrency.worker_thread import (
    MAX_HUNG_THREADS,
    SharedCall,
    WorkerThread,
    run_in_new_loop,
)
from ingestion_progress.models import Job

variable = contextvars.ContextVar("variable", default="")


@pytest.fixture
def worker():
    worker = WorkerThread("test-worker")
    yield worker
    worker.close()


async def test_calls_run_in_one_thread_in_order(worker):
    done: list[int] = []

    def record(number: int) -> int:
        done.append(number)
        return threading.get_ident()

    threads = await asyncio.gather(*(worker.run(record, number) for number in range(100)))

    assert done == list(range(100))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_thread_that_hangs_does_not_keep_the_process_from_exiting(worker):
    assert (await worker.run(threading.current_thread)).daemon


async def test_exception_reaches_the_caller_and_the_thread_continues(worker):
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 / 0)
    assert await worker.run(lambda: "goes on") == "goes on"


async def test_stop_iteration_reaches_the_caller_as_a_runtime_error(worker):
    async with asyncio.timeout(60):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await worker.run(lambda: next(iter([])))


async def test_context_variables_are_passed_in_both_directions(worker):
    variable.set("asked")

    def answer() -> str:
        before = variable.get()
        variable.set("answered")
        return before

    assert await worker.run(answer) == "asked"
    assert variable.get() == "answered"
    assert await asyncio.create_task(worker.run(variable.get), context=contextvars.Context()) == ""


async def test_asgiref_locals_are_passed_in_both_directions(worker):
    language = Local()
    language.name = "de"

    def answer() -> str:
        before = language.name
        language.name = "fr"
        return before

    assert await worker.run(answer) == "de"
    assert language.name == "fr"
    with translation.override("es"):
        assert await worker.run(translation.get_language) == "es"


async def test_thread_that_could_not_start_is_started_the_next_time(worker, monkeypatch):
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="new thread"):
            await worker.run(lambda: "never")

    async with asyncio.timeout(60):
        assert await worker.run(lambda: "now") == "now"


async def test_async_to_sync_in_a_call_runs_in_the_callers_loop(worker):
    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert await worker.run(async_to_sync(running)) is asyncio.get_running_loop()


async def test_call_that_is_cancelled_before_its_turn_is_skipped(worker):
    may_go_on = threading.Event()
    done: list[str] = []
    first = asyncio.create_task(worker.run(may_go_on.wait, 5))
    second = asyncio.create_task(worker.run(done.append, "second"))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    may_go_on.set()

    assert await first
    await worker.run(done.append, "third")
    assert done == ["third"]


def test_thread_outlives_the_event_loop_of_a_call(worker):
    may_go_on = threading.Event()

    async def start_and_cancel() -> None:
        task = asyncio.create_task(worker.run(may_go_on.wait, 5))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(start_and_cancel())
    may_go_on.set()

    assert asyncio.run(worker.run(lambda: "another")) == "another"


async def test_closed_thread_ends_after_the_current_call(worker):
    may_go_on = threading.Event()
    call = asyncio.create_task(worker.run(may_go_on.wait, 5))
    await asyncio.sleep(0)
    worker.close()
    assert worker.is_alive
    may_go_on.set()
    assert await call
    for _ in range(500):
        if not worker.is_alive:
            break
        await asyncio.sleep(0.01)
    assert not worker.is_alive


async def test_coroutine_runs_in_a_new_loop_with_the_callers_context():
    async def answer() -> tuple[str, bool]:
        await asyncio.sleep(0)
        return language.name, asyncio.get_running_loop() is loop

    async def fail() -> None:
        raise ZeroDivisionError

    language, loop = Local(), asyncio.get_running_loop()
    language.name = "de"
    assert run_in_new_loop(answer) == ("de", False)
    with pytest.raises(ZeroDivisionError):
        run_in_new_loop(fail)


async def test_thread_that_hangs_is_replaced_and_a_few_are_left_behind():
    release = threading.Event()
    worker = WorkerThread("hanging-worker", timeout_seconds=0.02)
    for _ in range(MAX_HUNG_THREADS + 2):
        with pytest.raises(TimeoutError):
            await worker.run(release.wait, 20)
    hung = [thread for thread in threading.enumerate() if thread.name == "hanging-worker"]
    release.set()

    assert len(hung) == MAX_HUNG_THREADS + 1
    for thread in hung[:-1]:
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()
    assert await worker.run(lambda: "answer") == "answer"
    worker.close()


async def test_thread_that_hangs_is_replaced_once_for_all_who_wait_for_it():
    async def time_out() -> object:
        with pytest.raises(TimeoutError):
            await worker.run(release.wait, 20)
        return worker._thread

    release = threading.Event()
    worker = WorkerThread("hanging-worker", timeout_seconds=0.02)
    threads = await asyncio.gather(*(time_out() for _ in range(3)))
    release.set()
    worker.close()

    assert len(set(threads)) == 1


async def test_time_out_that_the_call_raises_replaces_no_thread():
    def fail() -> None:
        raise TimeoutError

    worker = WorkerThread("failing-worker", timeout_seconds=5)
    before = await worker.run(threading.get_ident)
    with pytest.raises(TimeoutError):
        await worker.run(fail)

    assert await worker.run(threading.get_ident) == before
    worker.close()


def open_connection(*, fails: bool = False) -> object:
    """The connection that a query of this thread uses."""
    Job.objects.count()
    if fails:
        raise OperationalError("gone")
    return connection.connection


@pytest.mark.django_db(transaction=True)
async def test_connection_is_closed_after_each_call(worker):
    await worker.run(open_connection)
    held = await worker.run(lambda: connection.connection)

    assert held is None


@pytest.mark.django_db(transaction=True)
async def test_connection_is_renewed_after_an_error_and_with_age(monkeypatch):
    worker = WorkerThread("reader", connection_max_age_seconds=60)
    first, same = await worker.run(open_connection), await worker.run(open_connection)
    with pytest.raises(OperationalError):
        await worker.run(open_connection, fails=True)
    renewed = await worker.run(open_connection)
    monkeypatch.setattr(worker._thread, "_renew_at", 0.0)
    aged = await worker.run(open_connection)
    worker.close()

    assert first is same
    assert len({id(first), id(renewed), id(aged)}) == 3


async def test_requests_share_a_call_that_is_pending():
    calls: list[int] = []
    release = threading.Event()

    def answer() -> int:
        calls.append(1)
        release.wait(20)
        return len(calls)

    shared = SharedCall("shared-call", answer, timeout_seconds=5)
    waiting = [asyncio.create_task(shared.result()) for _ in range(10)]
    await asyncio.sleep(0.01)
    release.set()

    assert await asyncio.gather(*waiting) == [1] * 10
    assert await shared.result() == 2


async def test_exception_of_a_shared_call_reaches_all_callers():
    shared = SharedCall("shared-call", lambda: 1 / 0, timeout_seconds=5)

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await shared.result()


async def test_call_that_is_late_continues_and_its_error_is_not_reported():
    def fail() -> None:
        calls.append(1)
        release.wait(20)
        raise ZeroDivisionError

    calls: list[int] = []
    reported: list[object] = []
    release = threading.Event()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    shared = SharedCall("shared-call", fail, timeout_seconds=0.01)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await shared.result()
    assert calls == [1]
    release.set()
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(shared._pending.result, 5)
    await asyncio.sleep(0.01)
    del shared  # with all that refers to the results
    gc.collect()
    assert not reported


async def test_thread_that_waits_keeps_nothing_of_its_last_call(worker):
    class Argument:
        pass

    argument = Argument()
    reference = weakref.ref(argument)
    await worker.run(id, argument)
    del argument
    for _ in range(20):
        gc.collect()
        if reference() is None:
            break
        await asyncio.sleep(0.01)
    assert reference() is None
