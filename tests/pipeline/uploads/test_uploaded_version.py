from __future__ import annotations

import io
import itertools
import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from django.db import connections, transaction
from django_tasks_db.compat import BaseTaskBackend

from ingestion_progress.models import Job
from ingestion_progress.pipeline.documents.versions import document_of
from ingestion_progress.pipeline.models import Document, PendingVersion
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.tracker import fail_job
from tests.support.documents import storage, stored_files  # noqa: F401
from tests.support.tracking import eventually

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("storage"),
    pytest.mark.database,
]


class SlowBroker(BaseTaskBackend):
    """An external queue that accepts or refuses a task later."""

    def enqueue(self, task, args, kwargs):
        is_taken: Future[bool] = Future()
        self.options["asked"].put(is_taken)
        if not is_taken.result():
            raise ConnectionError("no broker")


@pytest.fixture
def asked(settings) -> queue.SimpleQueue[Future[bool]]:
    """For each submitted task the Future that decides whether the queue accepts it."""
    asked: queue.SimpleQueue[Future[bool]] = queue.SimpleQueue()
    broker = {"BACKEND": f"{__name__}.SlowBroker", "OPTIONS": {"asked": asked}}
    settings.TASKS = {"default": broker}
    return asked


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as threads:
        yield threads


def upload(content: str, document_id: str, **options: bool) -> Job:
    file = io.BytesIO(content.encode())
    return receive(file, name="a.txt", document_id=document_id, **options)


def upload_aside(threads: ThreadPoolExecutor, content: str, document_id: str) -> Future[Job]:
    def run() -> Job:
        try:
            return upload(content, document_id)
        finally:
            connections.close_all()

    return threads.submit(run)


def every_file_has_its_row(storage) -> bool:  # noqa: F811
    names = sorted(f"documents/{path.name}" for path in stored_files(storage))
    found = [model.objects.values_list("file", flat=True) for model in (Document, PendingVersion)]
    return names == sorted(itertools.chain.from_iterable(found))


def texts(job_ids: list[str]) -> list[str]:
    """What each job would ingest."""
    documents = [document_of(Job.objects.get(pk=job_id)) for job_id in job_ids]
    return [Path(each.file.path).read_text() if each else "" for each in documents]


@pytest.mark.parametrize("has_earlier", [True, False])
@pytest.mark.parametrize("taken", list(itertools.product([True, False], repeat=3)))
def test_each_accepted_of_concurrent_uploads_is_a_version_and_refused_ones_leave_nothing(
    storage,  # noqa: F811
    asked,
    threads,
    taken: tuple[bool, ...],
    has_earlier: bool,
):
    for order in itertools.permutations(range(3)):
        key = f"answered in the order {order}"
        if has_earlier:
            upload("earlier", key, is_enqueued=False)
        earlier = Document.objects.filter(pk=key).values().first()
        uploads, answers = [], []
        for number in range(3):
            uploads.append(upload_aside(threads, str(number), key))
            answers.append(asked.get(timeout=20))
        for number in order:
            answers[number].set_result(taken[number])
            wait([uploads[number]], timeout=20)
        accepted = [number for number in range(3) if taken[number]]
        jobs = [uploads[number].result().pk for number in accepted]
        assert texts(jobs) == [str(number) for number in accepted], key
        if has_earlier or not accepted:
            assert Document.objects.filter(pk=key).values().first() == earlier, key
        assert every_file_has_its_row(storage), key
        assert Job.objects.filter(document_id=key).count() == sum(taken) + has_earlier, key


def test_two_concurrent_first_uploads_are_two_versions(storage, threads):  # noqa: F811
    with transaction.atomic():
        one = upload("one", "d")
        other = upload_aside(threads, "two", "d")
        eventually(lambda: len(stored_files(storage)) == 2)
    assert texts([one.pk, other.result(20).pk]) == ["one", "two"]
    assert every_file_has_its_row(storage)


def test_an_upload_drops_versions_whose_jobs_have_ended(storage):  # noqa: F811
    kept, failed, waiting = (upload(text, "d", is_enqueued=False) for text in "abc")
    fail_job(failed.pk, "It is damaged.")
    newest = upload("e", "d", is_enqueued=False)
    assert texts([kept.pk, waiting.pk, newest.pk]) == ["a", "c", "e"]
    assert texts([failed.pk]) == [""]
    assert every_file_has_its_row(storage)
