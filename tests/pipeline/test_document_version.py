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
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.uploads.receive import receive
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


def stored_text(document_id: str) -> str:
    return Path(Document.objects.get(pk=document_id).file.path).read_text()


def every_file_has_its_row(storage) -> bool:  # noqa: F811
    names = [f"documents/{path.name}" for path in stored_files(storage)]
    return sorted(names) == sorted(Document.objects.values_list("file", flat=True))


@pytest.mark.parametrize("has_earlier", [True, False])
@pytest.mark.parametrize("taken", list(itertools.product([True, False], repeat=3)))
def test_newest_accepted_of_concurrent_uploads_remains(
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
        if any(taken):
            newest = max(number for number in range(3) if taken[number])
            assert stored_text(key) == str(newest), key
        else:
            assert Document.objects.filter(pk=key).values().first() == earlier, key
        assert every_file_has_its_row(storage), key
        assert Job.objects.filter(document_id=key).count() == sum(taken) + has_earlier, key


def test_one_file_remains_of_two_concurrent_first_uploads(storage, threads):  # noqa: F811
    with transaction.atomic():
        upload("one", "d")
        other = upload_aside(threads, "two", "d")
        eventually(lambda: len(stored_files(storage)) == 2)
    other.result(20)
    assert stored_text("d") == "two"
    assert every_file_has_its_row(storage)


def test_next_upload_deletes_what_a_killed_process_replaced(storage, asked):  # noqa: F811
    upload("one", "d", is_enqueued=False)
    with transaction.atomic():
        upload("two", "d")
        transaction.get_connection().run_on_commit.clear()  # as when it is killed at the commit
    assert len(stored_files(storage)) == 2
    upload("three", "d", is_enqueued=False)
    assert every_file_has_its_row(storage)
