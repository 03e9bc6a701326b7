"""`manage.py ingest`, in its process and with a worker."""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django_tasks_db.models import DBTaskResult

from ingestion_progress import track
from ingestion_progress.models import Job
from ingestion_progress.pipeline.management.commands import ingest as ingest_command
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.stages import Chunk, Page
from ingestion_progress.pipeline.stages.chunking import SemanticChunker
from ingestion_progress.pipeline.uploads import receive as receive_module
from ingestion_progress.pipeline.uploads.media_types import MediaType, media_type_of
from ingestion_progress.pipeline.worker import IngestionWorker
from tests.support.documents import long_guide, storage  # noqa: F401
from tests.support.live import LiveProject

pytestmark = pytest.mark.once

database = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("storage")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three documents, two of the same name, and files that are not ingested."""
    home = tmp_path / "texts"
    files = {
        "a.md": "# Bees\n\nBees make honey.",
        "sub/a.md": "# Wasps\n\nWasps make paper.",
        "sub/deep/c.txt": "Ants make hills.",
        "image.png": "x",
        ".hidden.md": "x",
        ".git/d.md": "x",
    }
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return home


class Sting(Exception):
    """An error that no code expects."""

    def __init__(self) -> None:
        super().__init__("a wasp")


def stung_media_type_of(file: BinaryIO, name: str) -> MediaType:
    """A document with an unusual error."""
    file.seek(0)
    if b"Wasps" in file.read():
        raise Sting
    return media_type_of(file, name)


def stung_by(error: Exception) -> Callable[..., Iterator[Chunk]]:
    """Returns a `chunks` method that raises for pages that mention wasps."""
    cut = SemanticChunker.chunks

    def chunks(self: SemanticChunker, page: Page, first_number: int) -> Iterator[Chunk]:
        if "Wasps" in page.text:
            raise error
        return cut(self, page, first_number)

    return chunks


def run(*args: object, **options: object) -> str:
    out = io.StringIO()
    call_command("ingest", *args, stdout=out, **options)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage")
class TestInThisProcess:
    def test_folder_is_ingested_with_a_line_per_step(self, folder: Path):
        out = run(folder)
        assert list(Job.objects.values_list("status", flat=True)) == ["succeeded"] * 3
        assert out.count("100.0%  succeeded") == 3
        assert DBTaskResult.objects.count() == 0

    def test_files_of_the_same_name_in_subfolders_are_separate_documents(self, folder: Path):
        run(folder)
        run(folder)
        run(folder / "a.md")
        names = sorted(Document.objects.values_list("name", flat=True))
        assert names == ["a.md", "a.md", "c.txt"]

    def test_owner_and_metadata_can_be_given(self, folder: Path):
        anna = User.objects.create_user("anna")
        run(folder, "--owner", "anna", "--metadata", '{"team": "legal"}')
        found = Job.objects.values_list("owner_id", "owner_name", "metadata")
        assert list(found) == [(anna.pk, "anna", {"team": "legal"})] * 3
        with pytest.raises(CommandError, match="There is no user bert"):
            run(folder, "--owner", "bert")
        with pytest.raises(CommandError, match="it is not an object"):
            run(folder, "--metadata", "[]")
        assert Job.objects.count() == 3

    def test_job_id_can_be_given_for_one_document(self, folder: Path):
        run(folder / "a.md", "--job-id", "mine")
        assert Job.objects.get().pk == "mine"
        with pytest.raises(CommandError, match="for one document, not for 3"):
            run(folder, "--job-id", "mine")

    def test_refused_document_does_not_stop_the_others(self, folder: Path, tmp_path: Path):
        for name, data in {"empty.md": b"", "late.pdf": b"%PDF-1.7\n%%EOF"}.items():
            (folder / name).write_bytes(data)
        with pytest.raises(CommandError, match="2 of 5 documents were not ingested"):
            run(folder)
        assert Job.objects.filter(status="succeeded").count() == 3
        assert "is damaged" in Job.objects.get(status="failed").error

    def test_unexpected_error_fails_one_document(self, folder: Path, monkeypatch):
        monkeypatch.setattr(SemanticChunker, "chunks", stung_by(Sting()))
        out = io.StringIO()
        with pytest.raises(CommandError, match="1 of 3 documents were not ingested"):
            call_command("ingest", folder, stdout=out)
        assert Job.objects.filter(status="succeeded").count() == 2
        assert Job.objects.get(status="failed").error == "a wasp"
        assert out.getvalue().count("a wasp") == 1

    def test_document_with_failed_items_is_exit_code_3(self, folder: Path, monkeypatch):
        def ingest_with_error(job_id: str, **options: Any) -> None:
            with track("", job_id=job_id) as job:
                job.stage("parsing").record_error("odd")

        monkeypatch.setattr(ingest_command, "ingest", ingest_with_error)
        with pytest.raises(CommandError, match="3 of 3 documents were ingested with") as caught:
            run(folder)
        assert caught.value.returncode == 3

    def test_error_before_a_job_exists_fails_one_document(self, folder: Path, monkeypatch):
        monkeypatch.setattr(receive_module, "media_type_of", stung_media_type_of)
        out = io.StringIO()
        with pytest.raises(CommandError, match="1 of 3 documents were not ingested"):
            call_command("ingest", folder, stdout=out)
        assert list(Job.objects.values_list("status", flat=True)) == ["succeeded"] * 2
        assert f"{folder / 'sub' / 'a.md'}: a wasp" in out.getvalue()

    def test_unavailable_database_ends_the_command(self, folder: Path, monkeypatch):
        monkeypatch.setattr(SemanticChunker, "chunks", stung_by(OperationalError("gone")))
        with pytest.raises(OperationalError, match="gone"):
            run(folder)
        assert Job.objects.count() == 2

    def test_missing_path_is_reported(self, tmp_path: Path):
        with pytest.raises(CommandError, match="There is no"):
            run(tmp_path / "nowhere")

    def test_folder_without_documents_is_reported(self, folder: Path, tmp_path: Path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty" / ".hidden.md").write_text("Bees make honey.")
        with pytest.raises(CommandError, match=r"There is no document in .*empty \(\.") as found:
            run(folder, tmp_path / "empty")
        assert found.value.returncode == 1
        assert not Job.objects.exists()

    def test_file_name_that_is_not_utf_8_does_not_end_a_batch(self, folder: Path):
        latin = os.fsencode(folder) + b"/caf\xe9"
        Path(os.fsdecode(latin)).mkdir()
        for name, text in {b"men\xfc.txt": b"Bees make honey.", b"\xe9mpty.txt": b""}.items():
            Path(os.fsdecode(latin + b"/" + name)).write_bytes(text)
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
        with pytest.raises(CommandError, match="1 of 5 documents were not ingested"):
            call_command("ingest", folder, stdout=out)
        assert Job.objects.filter(status="succeeded").count() == 4
        assert Document.objects.filter(name="men.txt").exists()
        assert "caf\ufffd/\ufffdmpty.txt: “mpty.txt” is empty." in out.buffer.getvalue().decode()

    def test_file_of_another_kind_is_refused_with_its_name(self, folder: Path):
        (folder / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        with pytest.raises(CommandError, match="1 of 1"):
            run(folder / "image.png")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage")
class TestWithAWorker:
    def test_detached_jobs_are_queued_and_their_ids_printed(self, folder: Path):
        out = run(folder, detach=True)
        queued = {f"{job.pk}  {job.document_name}" for job in Job.objects.queued()}
        assert set(out.splitlines()) == queued
        assert len(queued) == DBTaskResult.objects.count() == 3
        (batch,) = set(Job.objects.values_list("batch", flat=True))
        assert batch

    def test_batch_can_be_named_and_a_single_document_has_none(self, folder: Path):
        run(folder, detach=True, batch="texts")
        run(folder / "sub" / "a.md", detach=True)  # by its name alone a version of the other one
        assert Job.objects.of_batch("texts").count() == 3
        assert Job.objects.filter(batch="").count() == 1

    def test_worker_runs_detached_jobs(self, folder: Path, monkeypatch):
        run(folder, detach=True)
        monkeypatch.setattr(IngestionWorker, "configure_signals", lambda self: None)
        IngestionWorker(interval_seconds=0.05, is_draining=True).run()
        assert Job.objects.filter(status="succeeded").count() == 3
        assert DBTaskResult.objects.successful().count() == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("how", [{}, {"detach": True}])
def test_documents_that_are_ingested_already_are_named_and_cost_nothing(folder: Path, how):
    run(folder)
    names = sorted(Job.objects.values_list("pk", flat=True))
    said = run(folder, **how)
    assert said.count("is ingested already: job ") == 3
    assert sorted(Job.objects.values_list("pk", flat=True)) == names
    run(folder, force=True)
    assert Job.objects.filter(status="succeeded").count() == 6


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage")
def test_a_queued_job_of_the_same_content_is_run_at_once(folder: Path):
    run(folder / "a.md", detach=True)
    run(folder / "a.md")
    assert Job.objects.get().status == "succeeded"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("storage")
def test_two_documents_of_one_name_are_both_found(folder: Path):
    run(folder / "a.md", folder / "sub" / "a.md")
    assert len(search("honey")) == len(search("paper")) == 1


def test_ctrl_c_stops_the_command_immediately_and_cancels_the_job(own_project: LiveProject):
    document = long_guide(own_project.folder)
    process = own_project.spawn(
        sys.executable, "manage.py", "ingest", "--job-id", "interrupted", str(document)
    )
    path = own_project.folder / "progress.sqlite3"
    query = "SELECT status, reached_percent, error FROM ingestion_progress_job WHERE id = ?"

    def state() -> tuple[str, float, str]:
        with closing(sqlite3.connect(path, timeout=20)) as connection:
            return connection.execute(query, ["interrupted"]).fetchone() or ("", 0, "")

    deadline = time.monotonic() + 60
    while state()[1] < 27 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert state()[::2] == ("cancelled", "Cancelled on request.")


def test_wait_shows_the_progress_of_the_worker(own_project: LiveProject, tmp_path: Path):
    document = tmp_path / "bees.md"
    document.write_text("# Bees\n\nBees make honey.")
    worker = own_project.spawn(sys.executable, "manage.py", "ingestion_worker")
    out = own_project.manage("ingest", "--wait", str(document), timeout=120)
    worker.terminate()
    assert "100.0%  succeeded  bees.md" in out
    assert worker.wait(20) == 0
