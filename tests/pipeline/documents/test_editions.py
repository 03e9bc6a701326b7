"""What attempts leave behind, and what the next one continues."""

from __future__ import annotations

import io
from collections import Counter
from typing import ClassVar

import pytest
from PIL import Image

from ingestion_progress.exceptions import JobSuperseded
from ingestion_progress.models import Job
from ingestion_progress.pipeline import ingestion
from ingestion_progress.pipeline.documents import editions
from ingestion_progress.pipeline.exceptions import EditionMissing
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import (
    Document,
    Edition,
    Entity,
    ImageDescription,
    ParsedPage,
)
from ingestion_progress.pipeline.parser_process.pages import ParsedPages
from ingestion_progress.pipeline.stages import Chunk, Embedding, Extraction, chunk_stream
from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
from ingestion_progress.pipeline.stages.image_description import MetadataDescriber
from ingestion_progress.pipeline.stores import graph_store
from ingestion_progress.pipeline.stores import results as results_module
from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
from ingestion_progress.recovery import retry_job
from ingestion_progress.tracker import request_cancellation, track
from tests.pipeline.test_ingestion import (
    PickyEmbedder,
    assert_counts_are_what_is_stored,
    ingested,
    queued,
    stages,
    with_components,
)
from tests.support.documents import EXAMPLES, pdf, storage  # noqa: F401

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("storage"),
    pytest.mark.database,
]


class Stopping(Bm25Embedder):
    """Its process is stopped when it has embedded some texts."""

    embedded: ClassVar = Counter[str]()
    limit = 10

    def embed(self, text, language=""):
        if self.embedded.total() == self.limit:
            raise SystemExit("The worker was stopped.")
        self.embedded[text] += 1
        return super().embed(text, language)


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> type[Stopping]:
    monkeypatch.setattr(Stopping, "embedded", Counter())
    monkeypatch.setattr(Stopping, "limit", 10)
    monkeypatch.setattr(chunk_stream, "EMBEDDING_BATCH", 1)
    with_components(monkeypatch, embedder=Stopping())
    return Stopping


def stopped(job: Job) -> None:
    with pytest.raises(SystemExit):
        ingest(job.pk)
    job.refresh_from_db()
    assert job.status == "queued"


def finished(job: Job) -> Job:
    ingest(job.pk)
    job.refresh_from_db()
    assert job.status == "succeeded"
    assert_counts_are_what_is_stored(job)
    assert (Edition.objects.count(), ParsedPage.objects.count()) == (1, 0)
    assert ImageDescription.objects.count() == 0
    return job


def test_next_attempt_continues_and_stores_each_chunk_once(stopping: type[Stopping]):
    job = queued(pdf(6, first=84))
    stopped(job)
    assert stages(job)["embedding"][1] == 10
    assert EmbeddedVectors().count(job.document_id) == 10
    stopping.limit = 15
    stopped(job)
    stopping.limit = 1000
    finished(job)
    assert job.attempt == 3
    assert set(stopping.embedded.values()) == {1}
    assert job.qdrant_writes == job.total_chunks == stopping.embedded.total()
    for name in ("embedding", "extraction"):
        assert stages(job)[name] == ("completed", job.total_chunks, job.total_chunks, 0)
    for entity in Entity.objects.all():
        chunks = [mention["chunk"] for mention in entity.evidence]
        assert len(chunks) == len(set(chunks))


def test_parsed_pages_are_not_parsed_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(results_module, "WRITE_SECONDS", 0.0)
    parsed: Counter[int] = Counter()
    read = ParsedPages.__getitem__

    def stops(self, index: int):
        if parsed.total() == 2:
            parsed[-1] += 1
            raise SystemExit("The worker was stopped.")
        parsed[index] += 1
        return read(self, index)

    monkeypatch.setattr(ParsedPages, "__getitem__", stops)
    scans = [Image.new("RGB", (300, 200), color) for color in ("red", "green", "blue", "white")]
    buffer = io.BytesIO()
    scans[0].save(buffer, "PDF", save_all=True, append_images=scans[1:])
    job = queued(buffer.getvalue())
    stopped(job)
    assert (stages(job)["parsing"][1], ParsedPage.objects.count()) == (2, 2)
    written: list[int] = []
    add = results_module.PageStore.add

    def record(self, index, page):
        written.append(index)
        return add(self, index, page)

    monkeypatch.setattr(results_module.PageStore, "add", record)
    finished(job)
    assert written == [2, 3]
    assert stages(job)["parsing"] == ("completed", 4, 4, 0)
    assert [parsed[index] for index in range(4)] == [1] * 4
    assert job.total_images == stages(job)["vlm"][1] == job.total_chunks == 4


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each picture was described."""
    described: Counter[str] = Counter()
    describe = MetadataDescriber.describe

    def counted(self, picture):
        described[picture.key] += 1
        return describe(self, picture)

    monkeypatch.setattr(MetadataDescriber, "describe", counted)
    return described


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a parser has opened each document."""
    opened: Counter[str] = Counter()
    open_document = ParsedPages.__init__

    def counted(self, parser, file, name, check):
        opened[name] += 1
        open_document(self, parser, file, name, check)

    monkeypatch.setattr(ParsedPages, "__init__", counted)
    return opened


@pytest.mark.parametrize(
    "name",
    [
        "borg-data-structures.html",
        "mkdocs-getting-started.docx",
        "redis-readme.md",
        "rst2pdf-manual.txt",
    ],
)
def test_documents_of_all_formats_are_parsed_and_their_pictures_described_once(
    stopping: type[Stopping], described, opened, name
):
    job = queued(EXAMPLES / name)
    stopped(job)
    assert ParsedPage.objects.count() == stages(job)["parsing"][2] > 0
    assert ImageDescription.objects.count() == len(described)
    stopping.limit = 100_000
    finished(job)
    assert opened == {name: 1}
    assert set(described.values()) <= {1}
    assert len(described) == job.total_images
    assert set(stopping.embedded.values()) == {1}


def test_pictures_that_are_described_are_not_described_again(
    monkeypatch: pytest.MonkeyPatch, described, opened
):
    monkeypatch.setattr(results_module, "WRITE_SECONDS", 0.0)
    describe = MetadataDescriber.describe

    def stops(self, picture):
        if len(described) == 2:
            raise SystemExit("The worker was stopped.")
        return describe(self, picture)

    images = b"".join(b"<img src=%d.png alt='Bee %d'>" % (number, number) for number in range(5))
    job = queued(b"<p>Bees make honey.</p>" + images, "a.html")
    with monkeypatch.context() as patch:
        patch.setattr(MetadataDescriber, "describe", stops)
        stopped(job)
    assert (stages(job)["vlm"][1], ImageDescription.objects.count()) == (2, 2)
    finished(job)
    assert described == dict.fromkeys([f"i-{number}" for number in range(1, 6)], 1)
    assert opened == {"a.html": 1}
    assert stages(job)["vlm"] == ("completed", 5, 5, 0)


def test_pages_beyond_the_limit_are_parsed_again(
    stopping: type[Stopping], monkeypatch: pytest.MonkeyPatch, opened
):
    text = "\f".join(
        " ".join(f"Bee {page}.{number} makes honey." for number in range(50)) for page in range(10)
    )
    monkeypatch.setattr(results_module, "MAX_CHARACTERS", 5000)
    job = queued(text.encode(), "a.txt")
    stopped(job)
    assert 0 < ParsedPage.objects.count() < 10
    assert stages(job)["parsing"][1:] == (10, 10, 0)
    stopping.limit = 100_000
    finished(job)
    assert opened == {"a.txt": 2}
    assert set(stopping.embedded.values()) == {1}


def test_retry_of_a_failed_job_begins_again_because_its_edition_is_deleted(
    stopping: type[Stopping], monkeypatch: pytest.MonkeyPatch
):
    job = queued(pdf(3, first=84))
    with monkeypatch.context() as patch:
        patch.setattr(Stopping, "embed", lambda self, text: 1 / 0)
        with pytest.raises(Exception, match="could be embedded"):
            ingest(job.pk)
    assert EmbeddedVectors().count(job.document_id) == Edition.objects.count() == 0
    stopping.limit = 1000
    retry_job(job.pk)
    finished(job)


def test_retry_of_what_failed_copies_the_rest(monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        with_components(patch, embedder=PickyEmbedder())
        job = ingested(EXAMPLES / "mkdocs-getting-started.docx")
    assert job.failed_items == 6
    before = job.qdrant_writes
    with_components(monkeypatch, embedder=(embedder := Stopping()))
    monkeypatch.setattr(Stopping, "embedded", Counter())
    retry_job(job.pk, only="failed")
    finished(job)
    assert (embedder.embedded.total(), job.qdrant_writes) == (6, before + 6)


def test_attempt_whose_former_edition_is_deleted_meanwhile_leaves_it_to_the_next(
    stopping: type[Stopping], monkeypatch: pytest.MonkeyPatch
):
    job = queued(pdf(3, first=84))
    stopped(job)
    version = ingestion._version

    def deleted_then(*args):
        found = version(*args)
        Edition.objects.update(job_id="")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(ingestion, "_version", deleted_then)
        with pytest.raises(EditionMissing):
            ingest(job.pk)
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("queued", 3)
    Edition.objects.update(job_id="")
    stopping.limit = 1000
    finished(job)


def test_late_writer_leaves_nothing_behind():
    document = Document.objects.get(pk=queued(b"Bees make honey.", "a.txt").document_id)
    with track("a.txt", job_id="late", document_id=document.pk, task="a.b") as late:
        editions.claim(late, document)
        graph = graph_store().writer(document.pk, "late", late.epoch)
        Job.objects.filter(pk="late").update(status="queued", epoch="next")  # it was rescued
        with track("a.txt", job_id="late", document_id=document.pk) as following:
            former = editions.claim(following, document)
            assert former == [late.epoch]
            editions.adopted(former)
            with pytest.raises(JobSuperseded):
                graph.write([(Chunk(key="c-1", text=""), Extraction({"bee": "Bee"}))])
            chunk = Chunk(key="c-1", text="Bees")
            EmbeddedVectors().write(
                document, late.epoch, [(chunk, Embedding(Bm25Embedder().embed("Bees")))]
            )
            editions.settle(document.pk, "late", late.epoch)
            assert EmbeddedVectors().count(document.pk) == 0
            editions.publish(following, document)
        with pytest.raises(JobSuperseded):
            editions.publish(late, document)
        late.has_ended = True
    assert list(Edition.objects.values_list("epoch", flat=True)) == [following.epoch]


def test_published_edition_stays_that_of_its_job_while_the_next_attempt_adopts_it():
    document = Document.objects.get(pk=queued(b"Bees make honey.", "a.txt").document_id)
    with track("a.txt", job_id="job", document_id=document.pk, task="a.b") as first:
        editions.claim(first, document, document.sha256)
        editions.publish(first, document)
        Job.objects.filter(pk="job").update(status="queued", epoch="next")
        with track("a.txt", job_id="job", document_id=document.pk) as second:
            assert editions.claim(second, document, document.sha256) == [first.epoch]
            editions.adopted([first.epoch])
            published = Edition.objects.get(epoch=first.epoch)
            assert published.job_id == "job"  # VISIBLE_JOBS: it is found as before
            again = editions.claim(second, document, document.sha256)
            assert again == [second.epoch]  # but adopted once
            editions.publish(second, document)
        first.has_ended = True
    assert list(Edition.objects.values_list("epoch", flat=True)) == [second.epoch]


def test_worker_discards_editions_of_jobs_that_are_not_tried_again(stopping: type[Stopping]):
    job = queued(pdf(3, first=84))
    stopped(job)
    editions.discard_abandoned()
    assert EmbeddedVectors().count(job.document_id) == 10  # the next attempt continues with them
    request_cancellation(job.pk)
    editions.discard_abandoned()
    results_module.delete_results_of_ended_jobs()
    assert EmbeddedVectors().count(job.document_id) == Entity.objects.count() == 0
    assert (Edition.objects.count(), ParsedPage.objects.count()) == (0, 0)


def test_publishing_deletes_the_parsed_pages_of_this_job_only(monkeypatch):
    monkeypatch.setattr(ingestion, "settle", lambda *_: None)
    ParsedPage.objects.create(job_id="other", version="v", index=0, content="{}")
    job = queued(pdf(2))
    ingest(job.pk)
    assert Document.objects.get().published_epoch
    assert list(ParsedPage.objects.values_list("job_id", flat=True)) == ["other"]
    results_module.delete_results_of_ended_jobs()
    assert not ParsedPage.objects.exists()


def test_chunks_of_before_there_were_editions_are_replaced():
    old = ingested(b"Bees make honey.", "a.txt")
    Document.objects.update(published_epoch="")
    Entity.objects.update(epoch="")
    Edition.objects.all().delete()
    ingested(b"Wasps make paper.", "a.txt")
    assert not Entity.objects.filter(document_id=old.document_id, epoch="").exists()
    assert Edition.objects.count() == 1


def test_two_jobs_write_one_document_at_the_same_time():
    document = Document.objects.get(pk=queued(b"text", "a.txt").document_id)
    extraction = Extraction({"bee": "Bee"})
    with track("a.txt", job_id="one") as one, track("a.txt", job_id="two") as two:
        for job in (one, two):
            editions.claim(job, document)
        for job in (one, two):
            graph = graph_store().writer(document.pk, job.job_id, job.epoch)
            graph.write([(Chunk(key="c-1", text=""), extraction)])
        editions.publish(two, document)
        assert Entity.objects.count() == 2  # the first one is not done
        editions.publish(one, document)
    assert [entity.epoch for entity in Entity.objects.all()] == [one.epoch]
