from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import pytest
from django.db import OperationalError, connections
from PIL import Image
from pypdf import PdfWriter

from ingestion_progress.concurrency import thread_pool
from ingestion_progress.exceptions import JobCancelled, JobExists
from ingestion_progress.models import Job, JobEvent
from ingestion_progress.models.statuses import StageStatus, WorkerStatus
from ingestion_progress.pipeline import ingestion, retries
from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    DocumentNotFound,
    EmptyDocument,
    NothingIngested,
    ProtectedDocument,
    StoredFileMissing,
    VectorStoreUnavailable,
)
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Document, Edition, Entity, Relation
from ingestion_progress.pipeline.parser_process.pages import ParsedPages
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.stages import Chunk, Embedding, Extraction, chunk_stream
from ingestion_progress.pipeline.stages.chunk_stream import Components
from ingestion_progress.pipeline.stages.chunking import SemanticChunker
from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
from ingestion_progress.pipeline.stages.extraction import KeyphraseExtractor
from ingestion_progress.pipeline.stages.image_description import MetadataDescriber
from ingestion_progress.pipeline.stores import database_graph
from ingestion_progress.pipeline.stores.database_graph import DatabaseGraphWriter
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
from ingestion_progress.pipeline.tasks import ingest_document
from ingestion_progress.pipeline.uploads.media_types import MediaType
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.tracker import delete_job, request_cancellation
from ingestion_progress.wire.snapshots import Snapshot, load_snapshot
from tests.pipeline.stages.test_docx import p, word
from tests.pipeline.stages.test_parsers import broken_page_pdf
from tests.support import parsers
from tests.support.documents import EXAMPLES, docx, pdf, storage, written  # noqa: F401

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("storage")]


def queued(data: bytes | Path, name: str = "") -> Job:
    content = data.read_bytes() if isinstance(data, Path) else data
    name = name or (data.name if isinstance(data, Path) else "a.pdf")
    return receive(io.BytesIO(content), name=name, is_enqueued=False)


def ingested(data: bytes | Path, name: str = "") -> Job:
    job = queued(data, name)
    ingest(job.pk)
    job.refresh_from_db()
    return job


def stages(job: Job) -> dict[str, tuple[str, int, int, int]]:
    return {
        stage.name: (stage.status, stage.processed, stage.total, stage.in_flight)
        for stage in job.stages.order_by("position")
    }


def errors(job: Job) -> list[tuple[str, str]]:
    return list(job.events.filter(level="error").values_list("stage", "item"))


def assert_counts_are_what_is_stored(job: Job) -> None:
    entities = Entity.objects.filter(document_id=job.document_id).count()
    relations = Relation.objects.filter(document_id=job.document_id).count()
    assert (job.entities_total, job.relations_total) == (entities, relations)
    assert job.neo4j_writes == entities + relations
    assert job.qdrant_writes == EmbeddedVectors().count(job.document_id)


def with_components(monkeypatch: pytest.MonkeyPatch, **components: object) -> None:
    """Real components except those that a test breaks on purpose."""
    monkeypatch.setattr(
        ingestion, "Components", lambda **defaults: Components(**defaults | components)
    )


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_metrics_of_an_example_equal_the_stored_rows(path: Path):
    data = pdf(12, first=84) if path.suffix == ".pdf" else path.read_bytes()
    job = ingested(data, path.name)
    assert job.status == "succeeded"
    assert job.error_count == 0
    assert_counts_are_what_is_stored(job)
    found = stages(job)
    for name in ("embedding", "extraction"):
        assert found[name] == ("completed", job.total_chunks, job.total_chunks, 0)
    assert found["vlm"][0] == ("completed" if job.total_images else "skipped")
    assert job.qdrant_writes == job.total_chunks > 0
    assert job.entities_total > 10
    assert job.relations_total > 10
    assert job.queue_depth == 0
    assert set(job.workers.values_list("status", flat=True)) == {WorkerStatus.IDLE}


def test_warnings_of_a_parser_are_in_the_log_of_the_job(settings):
    settings.INGESTION_PROGRESS_PARSERS = {MediaType.TEXT: parsers.PATH}
    job = ingested(b"opening: log Not quite UTF-8.\nBees make honey.", "a.txt")
    captured = JobEvent.objects.filter(job=job, message__contains="a_parser")
    assert list(captured.values_list("level", "message")) == [
        ("warning", "a_parser: Not quite UTF-8.")
    ]


def test_pages_and_images_are_counted():
    job = ingested(pdf(12, first=84))
    assert stages(job)["parsing"] == ("completed", 12, 12, 0)
    assert stages(job)["vlm"] == ("completed", 2, 2, 0)
    assert job.total_images == 2


def watched(job: Job) -> list[Snapshot]:
    """The states that were read while a thread ingested the document."""
    thread = threading.Thread(target=_in_thread, args=[job.pk])
    thread.start()
    seen = []
    while thread.is_alive():
        seen.append(load_snapshot(job.pk))
        time.sleep(0.01)
    thread.join()
    return seen


def test_embedding_and_extraction_run_during_chunking(settings):
    settings.INGESTION_PROGRESS_FLUSH_INTERVAL_SECONDS = 0.02
    job = queued(pdf(120, first=10))
    seen = [{stage.name: stage for stage in snapshot.stages} for snapshot in watched(job)]
    cutting = [each for each in seen if each["chunking"].status == StageStatus.IN_PROGRESS]
    for name in ("embedding", "extraction"):
        assert any(each[name].processed for each in cutting)
    assert {each["parsing"].status for each in cutting} == {StageStatus.COMPLETED}


@pytest.mark.database
def test_state_is_consistent_and_never_decreases(settings):
    settings.INGESTION_PROGRESS_FLUSH_INTERVAL_SECONDS = 0.02
    seen = watched(queued(pdf(120, first=10)))
    percents = [snapshot.overall_percent for snapshot in seen]
    assert percents == sorted(percents)
    assert len(set(percents)) > 10
    busy = [w for s in seen for w in s.workers if w.status == WorkerStatus.PROCESSING]
    assert busy
    assert all(worker.current_chunk.startswith(("c-", "i-")) for worker in busy)
    assert {worker.number for worker in busy} == {1, 2, 3, 4}
    depths = [snapshot.job.queue_depth for snapshot in seen]
    assert 0 < max(depths) <= 4 * chunk_stream.EXTRACTION_CAPACITY_PER_WORKER
    limits = {"embedding": chunk_stream.EMBEDDING_BATCH, "extraction": 4 + chunk_stream.GRAPH_BATCH}
    for name, limit in limits.items():
        in_flight = [s.in_flight for snapshot in seen for s in snapshot.stages if s.name == name]
        assert 0 < max(in_flight) <= limit


def _in_thread(job_id: str) -> None:
    try:
        ingest(job_id)
    finally:
        connections.close_all()


@pytest.mark.database
def test_second_ingestion_replaces_the_first():
    long = ingested(pdf(6, first=84), "same.pdf")
    short = ingested(pdf(2, first=84), "same.pdf")
    assert short.document_id == long.document_id
    assert 0 < short.qdrant_writes < long.qdrant_writes
    assert_counts_are_what_is_stored(short)


@pytest.mark.database
def test_failed_attempt_leaves_the_former_text_and_nothing_else(monkeypatch: pytest.MonkeyPatch):
    former = ingested(pdf(6, first=84), "same.pdf")

    class Crashing(EmbeddedVectors):
        def write(self, *args):
            super().write(*args)
            raise VectorStoreUnavailable("gone")

    with monkeypatch.context() as patch:
        with_components(patch, vectors=Crashing())
        crashed = queued(pdf(4, first=84), "same.pdf")
        with pytest.raises(VectorStoreUnavailable):
            ingest(crashed.pk)
    crashed.refresh_from_db()
    assert (crashed.status, crashed.error) == ("failed", "gone")
    assert_counts_are_what_is_stored(former)
    assert Edition.objects.count() == 1
    assert_counts_are_what_is_stored(ingested(pdf(4, first=84), "same.pdf"))


def test_damaged_page_is_recorded_and_the_others_are_ingested():
    job = ingested(broken_page_pdf())
    assert job.status == "succeeded"
    assert errors(job) == [("parsing", "page 2")]
    assert stages(job)["parsing"] == ("completed", 3, 3, 0)
    assert job.stages.get(name="parsing").failed == 1
    assert_counts_are_what_is_stored(job)


def test_document_of_damaged_pages_fails():
    writer = PdfWriter(clone_from=io.BytesIO(broken_page_pdf()))
    for number in (2, 0):
        writer.remove_page(number)
    job = queued(written(writer))
    with pytest.raises(NothingIngested, match=r"None of the pages of .* Page 1 is damaged"):
        ingest(job.pk)
    job.refresh_from_db()
    assert job.status == "failed"
    assert ("parsing", "page 1") in errors(job)


def test_document_without_text_fails():
    writer = PdfWriter()
    writer.add_blank_page(200, 200)
    job = queued(written(writer))
    with pytest.raises(EmptyDocument, match=r"has no text that can be read\. Its pages are empty"):
        ingest(job.pk)
    assert Job.objects.get().status == "failed"


def test_picture_on_a_page_without_text_is_ingested():
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), "blue").save(buffer, "PDF")
    job = ingested(buffer.getvalue())
    assert (job.status, job.total_chunks, job.total_images) == ("succeeded", 1, 1)
    assert_counts_are_what_is_stored(job)


def test_damaged_picture_is_recorded_and_the_others_are_ingested():
    drawings = "".join(
        f'<w:r><w:drawing><wp:docPr descr="{alt}"/><a:blip r:embed="{part}"/></w:drawing></w:r>'
        for alt, part in (("", "image1"), ("A bee", "image2"))
    )
    image = io.BytesIO()
    Image.new("RGB", (300, 200), "blue").save(image, "PNG")
    parts = {"word/damaged.png": b"AAAA", "word/whole.png": image.getvalue()}
    page = word(
        f"{p('Bees')}<w:p>{drawings}</w:p>", parts, image1="damaged.png", image2="whole.png"
    )
    job = ingested(page, "a.docx")
    assert job.status == "succeeded"
    assert errors(job) == [("vlm", "i-1")]
    assert (job.total_images, job.total_chunks) == (2, 2)
    assert stages(job)["vlm"] == ("completed", 2, 2, 0)


class PickyEmbedder(Bm25Embedder):
    def embed(self, text, language=""):
        if text.startswith("Picture"):
            raise ValueError("no pictures, please")
        return super().embed(text, language)


class PickyExtractor(KeyphraseExtractor):
    def extract(self, text, language=""):
        if text.startswith("Picture"):
            raise ValueError("no pictures, please")
        return super().extract(text, language)


@pytest.mark.database
def test_failed_chunk_is_recorded_and_the_others_are_ingested(monkeypatch: pytest.MonkeyPatch):
    with_components(monkeypatch, embedder=PickyEmbedder(), extractor=PickyExtractor)
    job = ingested(EXAMPLES / "mkdocs-getting-started.docx")
    assert job.status == "succeeded"
    assert job.error_count == 12
    assert sorted(errors(job)) == sorted(
        (stage, f"i-{n}") for n in range(1, 7) for stage in ("embedding", "extraction")
    )
    assert job.qdrant_writes == job.total_chunks - 6
    assert_counts_are_what_is_stored(job)
    for stage in ("embedding", "extraction"):
        assert stages(job)[stage] == ("completed", job.total_chunks, job.total_chunks, 0)


class ExtractorWithLoop(KeyphraseExtractor):
    """The database refuses a relation between an entity and itself."""

    def extract(self, text, language=""):
        if "wasps" in text:
            return Extraction({"wasp": "Wasp"}, (("wasp", "wasp"),))
        return super().extract(text, language)


@pytest.mark.database
def test_a_chunk_that_the_graph_refuses_costs_none_that_is_written_with_it(monkeypatch):
    batches: list[int] = []
    write = DatabaseGraphWriter.write

    def recorded(self, results):
        batches.append(len(results))
        return write(self, results)

    monkeypatch.setattr(DatabaseGraphWriter, "write", recorded)
    with_components(monkeypatch, extractor=ExtractorWithLoop)
    paragraphs = [f"The {n} bees of the garden make honey in summer. " * 12 for n in range(60)]
    paragraphs[30] = "Many wasps. " * 60
    job = ingested("\n\n".join(paragraphs).encode(), "a.txt")
    assert max(batches) > 1
    assert job.status == "succeeded"
    assert [stage for stage, _ in errors(job)] == ["extraction"]
    assert stages(job)["extraction"] == ("completed", job.total_chunks, job.total_chunks, 0)
    assert_counts_are_what_is_stored(job)


class FailingStore(EmbeddedVectors):
    """Fails after the first chunks."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, *args):
        self.writes += 1
        if self.writes > 1:
            raise VectorStoreUnavailable("No answer from http://localhost:6333.")
        return super().write(*args)


class EmbedderWithFailingStore(Bm25Embedder):
    """Its store fails after the first chunks."""

    def __init__(self) -> None:
        super().__init__()
        self.texts = 0

    def embed(self, text, language=""):
        self.texts += 1
        if self.texts > 2:
            raise VectorStoreUnavailable("No answer from http://localhost:6333.")
        return super().embed(text, language)


@pytest.mark.parametrize(
    "components",
    [{"vectors": FailingStore}, {"embedder": EmbedderWithFailingStore}],
    ids=["while writing", "while embedding"],
)
def test_unavailable_vector_store_fails_the_job_and_not_a_chunk(monkeypatch, components):
    monkeypatch.setattr(chunk_stream, "EMBEDDING_BATCH", 2)
    with_components(monkeypatch, **{name: make() for name, make in components.items()})
    job = queued(EXAMPLES / "mkdocs-getting-started.docx")
    with pytest.raises(VectorStoreUnavailable):
        ingest(job.pk)
    job.refresh_from_db()
    assert job.status == "failed"
    assert "No answer from" in job.error
    assert job.error_count == 0
    assert stages(job)["embedding"][0] == "error"


class GraphWithoutDatabase(DatabaseGraphWriter):
    """The database is down for the first writes."""

    failures = 2

    def write(self, results):
        if self.failures:
            self.failures -= 1
            raise OperationalError("database is locked")
        return super().write(results)


@pytest.mark.database
def test_short_outage_while_writing_the_graph_costs_no_chunk(monkeypatch):
    monkeypatch.setattr(database_graph, "DatabaseGraphWriter", GraphWithoutDatabase)
    job = ingested(b"Bees make honey in summer.", "a.txt")
    assert (job.status, job.attempt, job.error_count) == ("succeeded", 1, 0)
    assert_counts_are_what_is_stored(job)


@pytest.mark.database
def test_long_outage_while_writing_the_graph_hands_the_job_to_the_next_attempt(monkeypatch):
    monkeypatch.setattr(retries, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(database_graph, "DatabaseGraphWriter", GraphWithoutDatabase)
    job = queued(b"Bees make honey in summer.", "a.txt")
    with pytest.raises(OperationalError):
        ingest(job.pk)
    job.refresh_from_db()
    assert (job.status, job.attempt, job.error_count) == ("queued", 2, 0)
    monkeypatch.setattr(GraphWithoutDatabase, "failures", 0)
    ingest(job.pk)
    job.refresh_from_db()
    assert job.status == "succeeded"
    assert_counts_are_what_is_stored(job)


class UselessEmbedder(Bm25Embedder):
    def embed(self, text, language=""):
        raise ValueError("never")


class UselessExtractor(KeyphraseExtractor):
    def extract(self, text, language=""):
        raise ValueError("never")


@pytest.mark.parametrize(
    ("components", "stage"),
    [
        ({"embedder": UselessEmbedder()}, "embedding"),
        ({"extractor": UselessExtractor}, "extraction"),
    ],
)
def test_stage_whose_chunks_all_fail_fails_the_job(monkeypatch, components, stage):
    with_components(monkeypatch, **components)
    job = queued(EXAMPLES / "redis-readme.md")
    with pytest.raises(NothingIngested, match="Not one of"):
        ingest(job.pk)
    job.refresh_from_db()
    assert job.status == "failed"
    assert job.error.endswith("never")
    assert stages(job)[stage][0] == "error"


@pytest.mark.parametrize(
    ("data", "name", "error", "says"),
    [
        (pdf(1, password="o", user="secret"), "a.pdf", ProtectedDocument, "password"),
        (pdf(2)[:-3000], "a.pdf", DamagedDocument, "cut off"),
        (docx(**{"word/document.xml": b"<oops"}), "a.docx", DamagedDocument, "parts"),
        (b"<html><script>1</script></html>", "a.html", EmptyDocument, "no text"),
    ],
)
def test_unreadable_document_fails_with_a_sentence_and_deletes_nothing(data, name, error, says):
    earlier = ingested(b"Bees make honey in summer.", "a.txt")
    job = queued(data, name)
    Document.objects.filter(pk=earlier.document_id).delete()
    with pytest.raises(error):
        ingest(job.pk)
    job.refresh_from_db()
    assert job.status == "failed"
    assert says in job.error
    assert stages(job)["parsing"][0] == "error"
    assert job.qdrant_writes == job.entities_total == 0


def test_former_text_is_searchable_after_a_failed_replacement():
    old = ingested(pdf(2, first=84), "same.pdf")
    new = queued(pdf(2)[:-3000], "same.pdf")
    with pytest.raises(DamagedDocument):
        ingest(new.pk)
    assert EmbeddedVectors().count(old.document_id) == old.qdrant_writes


@pytest.mark.database
def test_missing_document_fails_its_job():
    job = queued(b"text", "a.txt")
    Document.objects.all().delete()
    with pytest.raises(DocumentNotFound, match="There is no document"):
        ingest(job.pk)
    job.refresh_from_db()
    assert job.status == "failed"


def test_missing_file_fails_its_job_without_a_path():
    job = queued(b"text", "a.txt")
    Path(Document.objects.get().file.path).unlink()
    with pytest.raises(StoredFileMissing):
        ingest(job.pk)
    job.refresh_from_db()
    assert job.status == "failed"
    assert job.error == "The file of “a.txt” is gone from the server. Upload it again."


def test_job_runs_once():
    job = ingested(b"text", "a.txt")
    with pytest.raises(JobExists):
        ingest(job.pk)


@pytest.mark.database
def test_cancelled_job_stops_soon_and_its_task_succeeds():
    job = queued(EXAMPLES / "reportlab-userguide.pdf")
    thread = threading.Thread(target=_run_task, args=[job.pk])
    thread.start()
    while load_snapshot(job.pk).overall_percent < 27:
        time.sleep(0.02)
    request_cancellation(job.pk)
    thread.join(60)
    job.refresh_from_db()
    assert job.status == "cancelled"
    assert not [t.name for t in threading.enumerate() if t.name.startswith(("extr", "embed"))]


def _run_task(job_id: str) -> None:
    try:
        ingest_document.call(job_id)
    finally:
        connections.close_all()


@pytest.mark.database
def test_job_cancelled_in_the_queue_never_starts():
    job = queued(b"text", "a.txt")
    request_cancellation(job.pk)
    with pytest.raises(JobCancelled):
        ingest(job.pk)
    ingest_document.call(job.pk)
    assert EmbeddedVectors().count(job.document_id) == 0


@pytest.mark.database
def test_job_deleted_in_the_queue_is_logged_and_its_task_succeeds(caplog):
    job = queued(b"text", "a.txt")
    delete_job(job.pk)
    ingest_document.call(job.pk)
    said = [(record.levelname, record.message) for record in caplog.records]
    assert said[-1] == ("WARNING", "job_deleted_before_it_began")


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit("The worker was stopped.")])
@pytest.mark.database
def test_stopped_process_hands_its_job_back(monkeypatch, stop: BaseException):
    class Interrupted(Bm25Embedder):
        def embed(self, text, language=""):
            raise stop

    with_components(monkeypatch, embedder=Interrupted())
    job = queued(b"text", "a.txt")
    with pytest.raises(type(stop)):
        ingest(job.pk)
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("queued", 2)
    assert job.error == "Its worker was stopped; the job continues with another one."


@pytest.mark.database
def test_cancelled_job_leaves_the_former_text_and_nothing_else(monkeypatch):
    former = ingested(b"Bees make honey.", "a.txt")

    class Cancelling(EmbeddedVectors):
        def write(self, *args):
            written = super().write(*args)
            request_cancellation(job.pk)
            return written

    with_components(monkeypatch, vectors=Cancelling())
    monkeypatch.setattr(chunk_stream, "EMBEDDING_BATCH", 1)
    job = queued(b"Wasps make paper.\n\n" * 20_000, "a.txt")  # not ingested before it is noticed
    with pytest.raises(JobCancelled):
        ingest(job.pk)
    assert_counts_are_what_is_stored(former)
    assert [hit.text for hit in search("paper honey")] == ["Bees make honey."]


def test_vectors_that_are_written_after_the_end_of_a_cancelled_job_are_discarded(monkeypatch):
    monkeypatch.setattr(thread_pool, "STOP_SECONDS", 0.05)
    has_ended, is_written = threading.Event(), threading.Event()

    class Late(EmbeddedVectors):
        def write(self, *args):
            request_cancellation(job.pk)
            assert has_ended.wait(60)
            written = super().write(*args)
            is_written.set()
            return written

    with_components(monkeypatch, vectors=Late())
    job = queued(b"Bees make honey.", "a.txt")
    with pytest.raises(JobCancelled):
        ingest(job.pk)
    (writer,) = [each for each in threading.enumerate() if each.name == "embedding-1"]
    has_ended.set()
    writer.join(60)
    assert is_written.is_set()
    assert EmbeddedVectors().count(job.document_id) == 0


@pytest.mark.parametrize("is_kept", [False, True])
def test_results_of_a_failed_job_are_kept_on_request(monkeypatch, settings, is_kept: bool):
    settings.INGESTION_PROGRESS_KEEP_PARTIAL_RESULTS = is_kept
    ingested(b"Bees make honey.", "a.txt")
    with_components(monkeypatch, vectors=FailingStore())
    monkeypatch.setattr(chunk_stream, "EMBEDDING_BATCH", 1)
    with pytest.raises(VectorStoreUnavailable):
        ingest(queued(b"Wasps make paper. " * 200, "a.txt").pk)
    assert search("paper" if is_kept else "honey")
    assert not search("honey" if is_kept else "paper")


def test_text_of_a_running_job_is_not_found_before_its_end(monkeypatch):
    found: list[int] = []

    class Searching(EmbeddedVectors):
        def write(self, *args):
            written = super().write(*args)
            found.append(len(search("honey")))
            return written

    with_components(monkeypatch, vectors=Searching())
    ingested(b"Bees make honey.", "a.txt")
    assert found == [0]
    assert len(search("honey")) == 1


def test_same_chunk_key_in_two_documents_has_two_ids():
    ingested(b"Bees make honey.", "a.txt")
    ingested(b"Bees make honey.", "b.txt")
    hits = EmbeddedVectors().search(Embedding(Bm25Embedder().embed_query("honey")), 10)
    assert len(hits) == 2
    assert {hit.payload["chunk"] for hit in hits} == {Chunk(key="c-1", text="").key}


MANY_PICTURES = b"<p>Bees</p>" + b"".join(
    b"<img src=%d.png alt='Bee number %d'>" % (number, number) for number in range(100)
)


class ChunkByChunk(SemanticChunker):
    """The chunker with a call for each chunk."""

    def chunks(self, page, first_number):
        return map(self.chunk, super().chunks(page, first_number))

    def chunk(self, chunk):
        return chunk


ITEMS = {
    "parsing": (ParsedPages, "__getitem__"),
    "vlm": (MetadataDescriber, "describe"),
    "chunking": (ChunkByChunk, "chunk"),
    "embedding": (Bm25Embedder, "embed"),
    "extraction": (KeyphraseExtractor, "extract"),
}


@pytest.mark.database
@pytest.mark.parametrize("stage", ITEMS)
def test_cancelled_job_begins_no_further_items(monkeypatch, settings, stage: str):
    settings.INGESTION_PROGRESS_HEARTBEAT_SECONDS = 0.02
    monkeypatch.setattr(chunk_stream, "EMBEDDING_BATCH", 1)
    owner, name = ITEMS[stage]
    do = getattr(owner, name)
    begun: list[object] = []

    def cancelled_at_once(self, item, *language):
        begun.append(item)
        if len(begun) == 1:
            request_cancellation(job.pk)
        time.sleep(0.05)
        return do(self, item, *language)

    contents = {
        "parsing": (pdf(40), "a.pdf"),
        "chunking": (b"Bees make honey.\n\n" * 4000, "a.txt"),
    }
    job = queued(*contents.get(stage, (MANY_PICTURES, "a.html")))
    monkeypatch.setattr(owner, name, cancelled_at_once)
    with_components(monkeypatch, chunker=ChunkByChunk())
    with pytest.raises(JobCancelled):
        ingest(job.pk)
    assert len(begun) < 40
    assert stages(job)[stage][0] == "error"
    assert Job.objects.get().status == "cancelled"
    assert Edition.objects.count() == EmbeddedVectors().count(job.document_id) == 0
