"""Synchronous tracking in the tests of an ingestion task."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import async_to_sync
from django.test import TestCase

from ingestion_progress import attach, track
from ingestion_progress.concurrency.compat.event_loop import hidden_event_loop
from ingestion_progress.exceptions import JobNotFound
from ingestion_progress.models import Job, Stage
from ingestion_progress.progress_manager import PipelineProgressManager, StageStatus
from ingestion_progress.testing import SynchronousTrackingMixin, synchronous_tracking
from ingestion_progress.tracker.writer import background_writer, current_writer

pytestmark = pytest.mark.database


def my_task() -> str:
    with track("a.pdf", stages=["one"]) as job:
        with job.stage("one", total=3) as stage:
            for _ in stage.iterate("abc"):
                pass
        job.count(entities_total=2)
    return job.job_id


async def run_the_specifications_script() -> None:
    manager = PipelineProgressManager()
    manager.start_document(document_id="test-job-123", document_name="test.pdf", total_chunks=32)
    await manager.update_stage(
        document_id="test-job-123",
        stage_name="extraction",
        processed=15,
        total=32,
        in_flight=4,
        status=StageStatus.IN_PROGRESS,
    )
    elsewhere = PipelineProgressManager()
    await elsewhere.update_metrics("test-job-123", entities_total=40)
    event = manager.get_sse_event("test-job-123")
    assert event["data"]["stages"]["extraction"]["processed"] == 15
    assert event["data"]["metrics"]["entities_total"] == 40
    with pytest.raises(JobNotFound, match="Running now: test-job-123"):
        await manager.update_stage("test-job-124", "parsing")
    await manager.complete_document("test-job-123")


class SynchronousTrackingTests(SynchronousTrackingMixin, TestCase):
    def test_a_task_is_tested_in_an_ordinary_test_case(self):
        job = Job.objects.get(pk=my_task())
        assert job.status == "succeeded"
        assert job.entities_total == 2

    def test_every_count_is_written_when_it_is_made(self):
        with track("a.pdf", stages=["one"]) as job:
            job.stage("one").advance(2)
            assert Job.objects.get().stages.get().processed == 2
            with attach(job.job_id) as other:
                other.stage("one").advance()
                assert Job.objects.get().stages.get().processed == 3

    def test_async_tasks_write_at_once_as_well(self):
        async def task() -> str:
            async with track("a.pdf", stages=["one"]) as job:
                job.stage("one").advance(4)
                assert (await Stage.objects.aget()).processed == 4
            return job.job_id

        job = Job.objects.get(pk=async_to_sync(task)())
        assert job.stages.get().processed == 4

    async def test_the_specifications_script_runs_in_an_async_test(self):
        await run_the_specifications_script()
        assert (await Job.objects.aget()).status == "succeeded"


@pytest.mark.django_db(transaction=True)
async def test_it_runs_under_pytest_without_a_transaction():
    with synchronous_tracking():
        await run_the_specifications_script()
    assert (await Job.objects.aget()).status == "succeeded"


@pytest.mark.django_db
async def test_it_runs_under_pytest_within_the_tests_transaction():
    with synchronous_tracking():
        await run_the_specifications_script()
        async with track("a.pdf", stages=["one"]) as job:
            job.stage("one").advance(2)
            stage = PipelineProgressManager().get_progress(job.job_id).stages["one"]
    assert stage.processed == 2
    assert not await Job.objects.aexists()  # for this, Django has another connection


class PlainBlockTests(TestCase):
    def test_the_block_ends_where_it_ends(self):
        with synchronous_tracking():
            my_task()
        assert Job.objects.count() == 1
        assert current_writer() is background_writer


async def test_a_hidden_loop_is_back_after_the_block():
    loop = asyncio.get_running_loop()
    with pytest.raises(ZeroDivisionError), hidden_event_loop():
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        raise ZeroDivisionError
    assert asyncio.get_running_loop() is loop
    await asyncio.sleep(0)
