"""The current job, and functions whose calls are jobs."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import copy_context

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User

from ingestion_progress import attach, current_job, track, tracked
from ingestion_progress.concurrency.thread_pool import ThreadPool
from ingestion_progress.exceptions import JobExists, JobNotFound, JobSuperseded
from ingestion_progress.models import Job
from ingestion_progress.testing import InlineWriter, synchronous_tracking
from ingestion_progress.tracker import delete_job, queue_job
from ingestion_progress.tracker.writer import use_writer

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def write_at_once():
    with synchronous_tracking():
        yield
    assert current_job() is None


class TestCurrentJob:
    def test_it_is_that_of_the_innermost_block(self):
        with track("a.pdf", job_id="a") as outer:
            assert current_job() is outer
            with track("b.pdf", job_id="b") as inner:
                assert current_job() is inner
                with attach("a") as joined:
                    assert current_job() is joined
                assert current_job() is inner
            assert current_job() is outer

    def test_a_block_that_raises_or_never_begins_leaves_the_outer_one(self):
        with track("a.pdf", job_id="a") as outer:
            with pytest.raises(ValueError, match="oops"), track("b.pdf"):
                raise ValueError("oops")
            with pytest.raises(JobNotFound), attach("nobody"):
                pass
            with pytest.raises(JobSuperseded), track("b.pdf", job_id="b"):
                delete_job("b", even_if_running=True)
            assert current_job() is outer

    def test_a_thread_has_it_in_a_copy_of_the_context_only(self):
        found = []

        def look() -> None:
            found.append(current_job())

        with track("a.pdf") as job:
            for target, args in ((look, []), (copy_context().run, [look])):
                thread = threading.Thread(target=target, args=args)
                thread.start()
                thread.join()
        assert found == [None, job]

    def test_threads_of_the_pipeline_have_it(self):
        found = []
        with track("a.pdf") as job:
            with ThreadPool(
                lambda number, items: found.append(current_job()), name="test", check=lambda: None
            ) as pool:
                pool.put(1)
        assert found == [job]

    def test_tasks_of_asyncio_have_their_own(self):
        async def run(name: str) -> bool:
            async with track(name, job_id=name) as job:
                await asyncio.sleep(0)
                inner = await asyncio.to_thread(current_job)
                async with attach(name) as joined:
                    assert current_job() is joined
                assert current_job() is job
                return current_job() is job and inner is job

        async def main() -> list[bool]:
            return await asyncio.gather(run("a"), run("b"))

        assert asyncio.run(main()) == [True, True]


class TestTracked:
    def test_each_call_is_a_job_with_the_name_of_the_function(self):
        @tracked(stages=["parsing"], batch="import")
        def ingest(count: int, *, unit: str = "") -> int:
            """Docs."""
            with current_job().stage("parsing", total=count, unit=unit) as stage:
                stage.advance(count)
            return count + 1

        assert (ingest(3, unit="pages"), ingest(4)) == (4, 5)
        assert (ingest.__name__, ingest.__doc__) == ("ingest", "Docs.")
        jobs = Job.objects.order_by("created_at")
        assert [job.document_name for job in jobs] == ["ingest", "ingest"]
        assert {job.status for job in jobs} == {"succeeded"}
        assert {job.batch for job in jobs} == {"import"}
        assert sorted(job.stages.get().processed for job in jobs) == [3, 4]

    def test_name_id_and_owner_may_come_from_the_arguments(self):
        @tracked(
            lambda job_id, user: f"{job_id}.pdf",
            job_id=lambda job_id, user: job_id,
            owner=lambda job_id, user: user,
        )
        def ingest(job_id: str, user: User) -> None:
            assert current_job().job_id == job_id

        anna = User.objects.create_user("anna")
        queue_job("queued", job_id="a")
        ingest("a", anna)
        job = Job.objects.get()
        assert (job.document_name, job.owner, job.status) == ("a.pdf", anna, "succeeded")
        with pytest.raises(JobExists):
            ingest("a", anna)

    def test_other_options_may_come_from_the_arguments_too(self):
        @tracked(
            document_id=lambda user: f"of {user}",
            batch=lambda user: f"batch-{user.pk}",
            metadata=lambda user: {"user": user.pk},
            about=lambda user: user,
        )
        def ingest(user: User) -> None:
            pass

        ben = User.objects.create_user("ben")
        ingest(ben)
        job = Job.objects.get()
        assert (job.document_id, job.batch) == ("of ben", f"batch-{ben.pk}")
        assert (job.metadata, job.about) == ({"user": ben.pk}, ben)

    def test_an_exception_fails_the_job_and_is_raised(self):
        @tracked("a.pdf")
        def ingest() -> None:
            raise ValueError("No text.")

        with pytest.raises(ValueError, match="No text"):
            ingest()
        assert Job.objects.get().error == "No text."

    def test_coroutine_functions_stay_coroutine_functions(self):
        @tracked("a.pdf", stages=["parsing"])
        async def ingest(count: int) -> int:
            await asyncio.sleep(0)
            current_job().stage("parsing").advance(count)
            return count

        assert asyncio.iscoroutinefunction(ingest)
        assert asyncio.run(ingest(3)) == 3
        assert Job.objects.get().stages.get().processed == 3

    def test_coroutines_keep_their_names_and_never_wait_in_the_event_loop(self):
        class NeverWaiting(InlineWriter):
            def call(self, write):
                raise AssertionError("it waits in the event loop")

            async def acall(self, write):
                return await sync_to_async(write)()

        @tracked()
        async def ingest() -> None:
            """Docs."""

        former = use_writer(NeverWaiting())
        try:
            async_to_sync(ingest)()
        finally:
            use_writer(former)
        assert (ingest.__name__, ingest.__doc__) == ("ingest", "Docs.")
        job = Job.objects.get()
        assert (job.document_name, job.status) == ("ingest", "succeeded")

    def test_functions_that_are_options_themselves_are_not_called_with_the_arguments(self):
        def shout(text: str) -> str:
            return text.upper()

        @tracked("a.pdf", task=delete_job, capture_logs=logging.WARNING, log_filter=shout)
        def ingest(count: int) -> None:
            logging.getLogger("shop").warning("%d of them", count)

        ingest(3)
        job = Job.objects.get()
        assert job.task == "ingestion_progress.tracker.lifecycle.delete_job"
        assert job.events.filter(message="SHOP: 3 OF THEM").exists()

    def test_generators_are_refused(self):
        def pages():
            yield 1

        async def late_pages():
            yield 1

        for function in (pages, late_pages):
            with pytest.raises(TypeError, match=f"{function.__name__} is a generator"):
                tracked()(function)
