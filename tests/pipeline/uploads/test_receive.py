from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections, transaction
from django_tasks_db.compat import BaseTaskBackend
from django_tasks_db.models import DBTaskResult

from ingestion_progress.exceptions import InvalidJobId, JobExists
from ingestion_progress.models import Job
from ingestion_progress.pipeline.exceptions import (
    DocumentTooLarge,
    EmptyDocument,
    MislabelledDocument,
    TaskNotQueued,
    UnsupportedDocument,
)
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.uploads.names import stable_id
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.recovery.tasks import queue_task
from tests.support.documents import storage, stored_files, zip_bomb  # noqa: F401

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("storage"),
    pytest.mark.database,
]


class AwayBroker(BaseTaskBackend):
    """An external queue that does not answer."""

    def enqueue(self, task, args, kwargs):
        raise ConnectionError("no broker")


class StoppedBroker(BaseTaskBackend):
    """An external queue during whose call the process is stopped."""

    def enqueue(self, task, args, kwargs):
        raise KeyboardInterrupt


class QuickBroker(BaseTaskBackend):
    """An external queue whose worker reads the job immediately."""

    def enqueue(self, task, args, kwargs):
        self.options["seen"].append(seen_by_others())


def seen_by_others() -> tuple[int, int]:
    """The numbers of jobs and tasks that another connection sees."""

    def look() -> tuple[int, int]:
        try:
            return Job.objects.count(), DBTaskResult.objects.count()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(look).result()


closed_queues = pytest.mark.parametrize(
    "queue",
    [
        pytest.param({"BACKEND": f"{__name__}.AwayBroker"}, id="outside"),
        pytest.param(
            {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["another"]}, id="inside"
        ),
    ],
)


def text(content: str = "Bees make honey.") -> io.BytesIO:
    return io.BytesIO(content.encode())


def test_priority_of_a_job_is_that_of_its_tasks():
    job = receive(text(), name="a.txt", priority=70)
    assert DBTaskResult.objects.get().priority == 70
    queue_task(Job.objects.get(pk=job.pk))  # of the next attempt
    assert [task.priority for task in DBTaskResult.objects.all()] == [70, 70]


def test_priority_outside_of_its_range_is_refused():
    with pytest.raises(ValueError, match="from -100 to 100, not 101"):
        receive(text(), name="a.txt", priority=101)
    assert not Document.objects.exists()


def nothing_is_left(storage) -> bool:  # noqa: F811
    rows = [Job.objects.count(), Document.objects.count(), DBTaskResult.objects.count()]
    return rows == [0, 0, 0] and stored_files(storage) == []


def test_upload_creates_a_document_a_job_and_a_task(storage):  # noqa: F811
    job = receive(SimpleUploadedFile("Bees 🐝.md", b"# Bees"), job_id="mine")
    document = Document.objects.get()
    assert (job.pk, job.status, job.document_id) == ("mine", "queued", document.pk)
    assert (job.document_name, document.name) == ("Bees 🐝.md", "Bees 🐝.md")
    assert document.pk == stable_id("Bees 🐝.md")
    assert (document.media_type, document.size_bytes) == ("text/markdown", 6)
    assert len(document.sha256) == 64
    (path,) = stored_files(storage)
    assert path.read_bytes() == b"# Bees"
    assert path.suffix == ".md"
    assert "Bees" not in path.name
    task = DBTaskResult.objects.get()
    assert task.task_path == "ingestion_progress.pipeline.tasks.ingest_document"
    assert task.args_kwargs["args"] == ["mine"]


def test_hostile_name_is_stored_safely(storage):  # noqa: F811
    job = receive(text(), name="../../\0\u202e" + "x" * 300 + ".txt")
    assert job.document_name.endswith("x.txt")
    assert len(job.document_name) == 255
    (path,) = stored_files(storage)
    assert path.parent == storage / "media" / "documents"


def test_same_name_is_a_newer_version_which_replaces_the_file_when_it_is_ingested(storage):  # noqa: F811
    first = receive(text("one"), name="a.txt")
    second = receive(text("two"), name="a.txt")
    assert first.document_id == second.document_id
    document = Document.objects.get()
    assert Path(document.file.path).read_text() == "one"
    ingest(second.pk)
    document.refresh_from_db()
    (path,) = stored_files(storage)
    assert path.read_text() == "two"
    assert document.file.name == f"documents/{path.name}"
    assert Job.objects.count() == 2


def test_documents_with_different_ids_may_share_a_name(storage):  # noqa: F811
    for document_id in ("a", "b"):
        receive(text(), name="same.txt", document_id=document_id)
    assert set(Document.objects.values_list("pk", flat=True)) == {"a", "b"}
    assert len(stored_files(storage)) == 2


@pytest.mark.parametrize(
    ("name", "content", "arguments", "error"),
    [
        ("a.txt", b"", {}, EmptyDocument),
        ("a.exe", b"MZ\x90" + bytes(range(32)) * 4, {}, UnsupportedDocument),
        ("a.pdf", b"no pdf", {}, MislabelledDocument),
        ("a.docx", zip_bomb(), {}, DocumentTooLarge),
        ("a.txt", b"text", {"job_id": "a/b"}, InvalidJobId),
        ("a.txt", b"text", {"job_id": ""}, InvalidJobId),
        ("a.txt", b"text", {"document_id": "../x"}, InvalidJobId),
    ],
)
def test_refused_upload_stores_nothing(
    storage,  # noqa: F811
    name: str,
    content: bytes,
    arguments: dict[str, Any],
    error: type[Exception],
):
    with pytest.raises(error):
        receive(io.BytesIO(content), name=name, **arguments)
    assert nothing_is_left(storage)


def test_too_large_upload_is_refused_while_it_is_read(storage, settings):  # noqa: F811
    settings.INGESTION_PROGRESS_MAX_UPLOAD_BYTES = 1024 * 1024
    endless = io.BufferedReader(Zeros())
    with pytest.raises(DocumentTooLarge, match="larger than 1 MB"):
        receive(endless, name="a.txt")
    assert nothing_is_left(storage)


class Zeros(io.RawIOBase):
    """An endless stream."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def test_existing_job_id_leaves_the_former_document_unchanged(storage):  # noqa: F811
    receive(text("first"), name="a.txt", job_id="taken")
    with pytest.raises(JobExists):
        receive(text("second"), name="a.txt", job_id="taken")
    (path,) = stored_files(storage)
    assert path.read_text() == "first"
    assert Document.objects.get().size_bytes == 5
    assert Job.objects.count() == DBTaskResult.objects.count() == 1


@closed_queues
def test_refusing_task_queue_stores_nothing(storage, settings, queue):  # noqa: F811
    settings.TASKS = {"default": queue}
    with pytest.raises(TaskNotQueued, match="did not accept the document"):
        receive(text(), name="a.txt")
    assert nothing_is_left(storage)


@closed_queues
def test_refusal_in_a_transaction_of_the_caller_stores_nothing(storage, settings, queue):  # noqa: F811
    settings.TASKS = {"default": queue}
    with pytest.raises(TaskNotQueued), transaction.atomic():
        receive(text(), name="a.txt")
    assert nothing_is_left(storage)


@closed_queues
def test_refusing_task_queue_leaves_the_former_document_unchanged(
    storage,  # noqa: F811
    settings,
    queue,
):
    receive(text("first"), name="a.txt")
    row, files = Document.objects.values().get(), stored_files(storage)
    settings.TASKS = {"default": queue}
    with pytest.raises(TaskNotQueued):
        receive(text("the second"), name="a.txt")
    assert Document.objects.values().get() == row
    assert stored_files(storage) == files
    assert files[0].read_text() == "first"
    assert Job.objects.count() == DBTaskResult.objects.count() == 1


def test_upload_stopped_at_the_task_queue_keeps_its_file(storage, settings):  # noqa: F811
    settings.TASKS = {"default": {"BACKEND": f"{__name__}.StoppedBroker"}}
    with pytest.raises(KeyboardInterrupt):
        receive(text("one"), name="a.txt")
    (path,) = stored_files(storage)
    assert Document.objects.get().file.name == f"documents/{path.name}"


def test_job_and_task_become_visible_together(storage):  # noqa: F811
    with transaction.atomic():
        receive(text(), name="a.txt")
        assert seen_by_others() == (0, 0)
    assert seen_by_others() == (1, 1)


def test_process_killed_at_the_commit_leaves_no_job_without_a_task(storage):  # noqa: F811
    def die() -> None:
        raise SystemExit

    with pytest.raises(SystemExit), transaction.atomic():
        transaction.on_commit(die)
        receive(text(), name="a.txt")
    assert seen_by_others() == (1, 1)


def test_external_queue_is_called_when_the_job_is_visible(storage, settings):  # noqa: F811
    seen: list[tuple[int, int]] = []
    broker = {"BACKEND": f"{__name__}.QuickBroker", "OPTIONS": {"seen": seen}}
    settings.TASKS = {"default": broker}
    with transaction.atomic():
        receive(text(), name="a.txt")
        assert seen == []
    assert seen == [(1, 0)]


def test_job_can_be_run_by_the_caller(storage):  # noqa: F811
    job = receive(text(), name="a.txt", is_enqueued=False)
    assert job.status == "queued"
    assert DBTaskResult.objects.count() == 0
