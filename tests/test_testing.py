from __future__ import annotations

from asgiref.sync import async_to_sync
from django.test import TestCase

from ingestion_progress import attach, track
from ingestion_progress.models import Job
from ingestion_progress.testing import SynchronousTrackingMixin, synchronous_tracking
from ingestion_progress.tracker.background import background_writer, current_writer


def my_task() -> str:
    with track("a.pdf", stages=["one"]) as job:
        with job.stage("one", total=3) as stage:
            for _ in stage.iterate("abc"):
                pass
        job.count(entities_total=2)
    return job.job_id


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

    def test_async_tasks_write_at_their_awaits(self):
        async def task() -> str:
            async with track("a.pdf", stages=["one"]) as job:
                job.stage("one").advance(4)
            return job.job_id

        job = Job.objects.get(pk=async_to_sync(task)())
        assert job.stages.get().processed == 4


class PlainBlockTests(TestCase):
    def test_the_block_ends_where_it_ends(self):
        with synchronous_tracking():
            my_task()
        assert Job.objects.count() == 1
        assert current_writer() is background_writer
