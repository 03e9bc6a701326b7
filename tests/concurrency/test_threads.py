from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest
from asgiref.local import Local
from asgiref.sync import async_to_sync
from django.utils import translation

from ingestion_progress.concurrency.threads import WorkerThread, run_aside

word = contextvars.ContextVar("word", default="")


@pytest.fixture
def worker():
    worker = WorkerThread("worker-of-a-test")
    yield worker
    worker.close()


async def test_all_is_done_in_one_thread_in_turn(worker):
    done: list[int] = []

    def note(number: int) -> int:
        done.append(number)
        return threading.get_ident()

    threads = await asyncio.gather(*(worker.run(note, number) for number in range(100)))

    assert done == list(range(100))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_what_is_raised_comes_back(worker):
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 / 0)
    assert await worker.run(lambda: "goes on") == "goes on"


async def test_iterator_that_has_ended_does_not_leave_the_caller_waiting(worker):
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await worker.run(lambda: next(iter([])))


async def test_context_is_the_callers_there_and_back(worker):
    word.set("asked")

    def answer() -> str:
        heard = word.get()
        word.set("answered")
        return heard

    assert await worker.run(answer) == "asked"
    assert word.get() == "answered"
    assert await asyncio.create_task(worker.run(word.get), context=contextvars.Context()) == ""


async def test_what_asgiref_keeps_by_thread_goes_along(worker):
    language = Local()
    language.name = "de"

    def answer() -> str:
        heard = language.name
        language.name = "fr"
        return heard

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

    async with asyncio.timeout(5):
        assert await worker.run(lambda: "now") == "now"


async def test_asynchronous_code_in_it_runs_in_the_callers_loop(worker):
    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert await worker.run(async_to_sync(running)) is asyncio.get_running_loop()


async def test_call_that_is_cancelled_before_its_turn_is_left_out(worker):
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


def test_loop_that_has_gone_is_not_missed(worker):
    may_go_on = threading.Event()

    async def leave() -> None:
        task = asyncio.create_task(worker.run(may_go_on.wait, 5))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    may_go_on.set()

    assert asyncio.run(worker.run(lambda: "another")) == "another"


async def test_it_ends_after_the_call_under_way(worker):
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


async def test_a_coroutine_runs_aside_to_its_end_with_what_the_context_holds():
    async def answer() -> tuple[str, bool]:
        await asyncio.sleep(0)
        return language.name, asyncio.get_running_loop() is loop

    async def fail() -> None:
        raise ZeroDivisionError

    language, loop = Local(), asyncio.get_running_loop()
    language.name = "de"
    assert run_aside(answer) == ("de", False)
    with pytest.raises(ZeroDivisionError):
        run_aside(fail)
