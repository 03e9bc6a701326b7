"""The result of a job on its page and on a page of its own, in each state of the job."""

from __future__ import annotations

import io
import re
from html import unescape

import pytest
from django.urls import reverse

from ingestion_progress import track
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.documents.deletion import delete_document
from ingestion_progress.pipeline.documents.editions import claim, publish
from ingestion_progress.pipeline.documents.result import CHUNKS_PER_PAGE
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Document, Edition
from ingestion_progress.pipeline.stages import Chunk, Embedding, Extraction
from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
from ingestion_progress.pipeline.stores import graph_store, vector_store
from ingestion_progress.pipeline.uploads.receive import receive
from tests.support.documents import storage  # noqa: F401
from tests.support.page_jobs import page_of, text_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("storage")]

HOSTILE = "<script>alert(1)</script> & <b>bees</b>"


def result_of(job: Job) -> str:
    return reverse("ingestion_progress:job_result", args=[job.pk])


def card_of(client, job: Job) -> str:
    """What the script requests."""
    response = client.get(result_of(job), headers={"X-Requested-With": "fetch"})
    assert response.status_code == 200
    return response.content.decode()


def received(name: str = "bees.md", content: bytes = b"# Bees\n\nBees make honey.") -> Job:
    return receive(io.BytesIO(content), name=name, is_enqueued=False)


def ingested(name: str = "bees.md", content: bytes = b"# Bees\n\nBees make honey.") -> Job:
    job = received(name, content)
    ingest(job.pk)
    return job


def written(tracker, document: Document, number: int, text: str = "Bees make honey.") -> None:
    """Chunks and their entities, in the edition of the attempt."""
    embedder = Bm25Embedder()
    chunks = [
        Chunk(key=f"c-{each}", text=f"{text} {each}", page=each // 3 + 1)
        for each in range(1, number + 1)
    ]
    embedded = [(chunk, Embedding(embedder.embed(chunk.text))) for chunk in chunks]
    vector_store().write(document, tracker.epoch, embedded)
    bees = Extraction({"bees": "Bees", "honey": "Honey"}, (("bees", "honey"),))
    writer = graph_store().writer(document.pk, tracker.job_id, tracker.epoch)
    writer.write([(chunk, bees) for chunk in chunks])


def test_page_of_a_job_links_to_its_result_without_asking_the_stores(client, settings):
    job = ingested()
    settings.INGESTION_PROGRESS_QDRANT_URL = "http://127.0.0.1:9"
    html = text_of(client, page_of(job.pk))
    assert f'data-url="{result_of(job)}" data-state="searchable"' in html
    for name, kind in (("document_detail", "Document"), ("api:document_file", "Original file")):
        url = reverse(f"ingestion_progress:{name}", args=[job.document_id])
        assert f'<a href="{url}">{kind}</a>' in html


def test_result_has_counts_chunks_entities_and_relations(client):
    job = ingested()
    card = card_of(client, job)
    assert "Search shows it." in card
    for text in ("<dt>Chunks</dt><dd>1</dd>", "Bees make honey.", "Most mentioned", "Relations"):
        assert text in card
    page = text_of(client, result_of(job))
    assert 'id="c-1"' in page
    assert 'id="c-1"' not in card  # the ids of a page are unique


def test_hostile_content_is_escaped_everywhere(client):
    job = ingested("<i>.txt", f"{HOSTILE} Beekeeping Association, Beekeeping Association".encode())
    document = reverse("ingestion_progress:document_detail", args=[job.document_id])
    for html in (card_of(client, job), text_of(client, result_of(job)), text_of(client, document)):
        assert "<b>" not in html
        assert "<i>.txt" not in html
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_result_grows_while_the_job_runs_and_search_is_offered_at_the_end(client):
    job = received()
    document = Document.objects.get()
    with track(document.name, job_id=job.pk, document_id=document.pk, restart=True) as tracker:
        assert "growing" in text_of(client, page_of(job.pk))
        assert "<dl" not in card_of(client, job)
        claim(tracker, document)
        assert "No chunk is stored yet." in card_of(client, job)
        written(tracker, document, 5)
        card = card_of(client, job)
        assert "<dt>Chunks</dt><dd>5</dd>" in card
        assert "Search shows it when the job has succeeded." in card
        assert '<tr><th scope="row">1</th><td>2</td></tr>' in card
        assert '<tr><th scope="row">2</th><td>3</td></tr>' in card
        assert '<bdi>Honey</bdi> <span class="entity-count">5</span>' in card
        assert 'name="q"' not in card
        publish(tracker, document)
    assert "Search shows it." in card_of(client, job)


def test_page_has_all_chunks_by_page_and_finds_the_one_that_is_named(client):
    job = received()
    document = Document.objects.get()
    count = CHUNKS_PER_PAGE * 2 + 5
    with track(document.name, job_id=job.pk, document_id=document.pk, restart=True) as tracker:
        claim(tracker, document)
        written(tracker, document, count)
        publish(tracker, document)
    document_page = reverse("ingestion_progress:document_detail", args=[document.pk])

    def chunks(query: str, url: str = "") -> list[int]:
        html = text_of(client, f"{url or result_of(job)}?{query}")
        return [int(number) for number in re.findall(r'id="c-(\d+)"', html)]

    first, last = list(range(1, CHUNKS_PER_PAGE + 1)), list(range(count - 4, count + 1))
    assert chunks("") == chunks("page=0") == chunks("page=x") == chunks("page=٣") == first
    assert chunks("page=3") == chunks("page=999") == chunks(f"chunk=c-{count}") == last
    assert (
        chunks("page=99999999999999999999") == chunks("chunk=c-0") == chunks("chunk=%00") == first
    )
    assert chunks(f"chunk=c-{count}", document_page) == last
    html = text_of(client, result_of(job))
    assert html.count("<h3>Page ") == CHUNKS_PER_PAGE // 3 + 1
    assert 'rel="next" href="?page=2#chunks"' in html
    assert 'rel="prev"' not in html


@pytest.mark.parametrize("count", [1, 40])
def test_number_of_queries_does_not_depend_on_the_content(
    client, django_assert_max_num_queries, count
):
    job = received()
    document = Document.objects.get()
    with track(document.name, job_id=job.pk, document_id=document.pk, restart=True) as tracker:
        claim(tracker, document)
        written(tracker, document, count)
        publish(tracker, document)
    with django_assert_max_num_queries(11):
        text_of(client, result_of(job))


def test_newer_version_and_deletion_are_told(client):
    job = ingested()
    ingested("bees.md", b"Bees sleep in winter.")
    assert Document.objects.count() == 1
    assert "Search shows a newer version of the document." in card_of(client, job)
    assert "Bees make honey." not in card_of(client, job)
    delete_document(job.document_id)
    html = text_of(client, page_of(job.pk))
    assert "The document was deleted." in html
    assert "Original file" not in html


def test_failed_job_has_nothing_that_search_shows(client):
    job = received()
    Edition.objects.all().delete()
    Job.objects.update(
        status=JobStatus.FAILED, finished_at=job.created_at, error="The disk is full."
    )
    assert "Search shows nothing of this job." in card_of(client, job)


def test_job_of_another_kind_has_no_result(client):
    with track("a.pdf", job_id="other", document_id="no-document") as other:
        pass
    assert 'id="result"' not in text_of(client, page_of("other"))
    job = Job.objects.get(pk=other.job_id)
    assert client.get(result_of(job)).status_code == 404
    Job.objects.update(task=conf.task)
    assert "The document was deleted." in text_of(client, page_of("other"))


@pytest.mark.parametrize("job_id", ["nobody", "\x00", " "])
def test_result_of_a_missing_job_is_404(client, job_id):
    assert client.get(reverse("ingestion_progress:job_result", args=[job_id])).status_code == 404


def test_store_that_is_away_is_named_and_the_rest_is_shown(client, settings):
    job = ingested()
    settings.INGESTION_PROGRESS_QDRANT_URL = "http://127.0.0.1:9"
    for html in (card_of(client, job), text_of(client, result_of(job))):
        assert "The vector store does not answer" in html
        assert "<dt>Chunks</dt><dd>?</dd>" in html
        assert "Most mentioned" in html


def no_jobs(request):
    return Job.objects.none()


def test_result_is_closed_by_default_and_hidden_with_its_job(client, settings):
    job = ingested()
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = f"{__name__}.no_jobs"
    assert client.get(result_of(job)).status_code == 404
    settings.INGESTION_PROGRESS_PUBLIC = False
    response = client.get(result_of(job))
    assert response.status_code == 302
    assert response["Location"] == f"/login/?next={result_of(job)}"
    assert client.post(result_of(job)).status_code == 405


def test_right_to_left_text_has_its_direction(client):
    job = ingested("مرحبا.txt", "النحل يصنع العسل في الخلية.".encode())
    page = unescape(text_of(client, result_of(job)))
    assert '<p class="chunk-text" dir="auto">النحل يصنع العسل في الخلية.</p>' in page
