"""Documents in the API: list, show, contents, file, deletion, another ingestion."""

from __future__ import annotations

import io
import json
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ingestion_progress.models import Job
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Document, PendingVersion
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import fail_job
from tests.support.api import refusal
from tests.support.documents import storage, stored_files  # noqa: F401

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("storage"),
    pytest.mark.database,
]

URL = "/api/v1/documents"
OWN_JOBS = "ingestion_progress.auth.visibility.own_jobs"
TEXT = "Ada Lovelace met Charles Babbage in London. The Analytical Engine was never built."
LONG = "\n\n".join(f"Paragraph {number}. {TEXT} " * 8 for number in range(12))


def received(name: str, text: str = TEXT, **options) -> Job:
    return receive(io.BytesIO(text.encode()), name=name, is_enqueued=False, **options)


def ingested(name: str, text: str = TEXT, **options) -> Job:
    job = received(name, text, **options)
    with synchronous_tracking():
        ingest(job.pk)
    return Job.objects.get(pk=job.pk)


def names(client, **query) -> list[str]:
    body = client.get(URL, query).json()
    assert body["total"] == len(body["items"])
    return [each["name"] for each in body["items"]]


def test_documents_are_listed_and_filtered(client):
    ingested("Bees.txt", batch="import")
    received("wasps.md", "# Wasps", batch="import")
    fail_job(received("ants.txt", "Ants").pk, "It is damaged.")
    assert names(client) == sorted(["Bees.txt", "wasps.md", "ants.txt"])
    assert names(client, name="BEE") == ["Bees.txt"]
    assert names(client, batch="import") == ["Bees.txt", "wasps.md"]
    assert names(client, media_type="text/markdown,application/pdf") == ["wasps.md"]
    assert names(client, status="failed") == ["ants.txt"]
    assert names(client, status="succeeded,queued") == ["Bees.txt", "wasps.md"]
    assert names(client, batch="import", status="queued") == ["wasps.md"]
    page = client.get(URL, {"limit": 1, "offset": 1}).json()
    assert (len(page["items"]), page["total"], page["limit"], page["offset"]) == (1, 3, 1, 1)


def test_item_of_the_list_says_what_is_searchable_and_names_the_newest_job(client):
    job = ingested("a.txt")
    newer = received("a.txt", "newer")
    (item,) = client.get(URL).json()["items"]
    assert (item["document_id"], item["is_searchable"]) == (job.document_id, True)
    assert (item["job"]["job_id"], item["job"]["status"]) == (newer.pk, "queued")
    assert client.get(item["job"]["link"]).status_code == 200
    for name, link in item["links"].items():
        response = client.get(link)
        assert response.status_code == 200, name
        response.close()


@pytest.mark.parametrize(
    "query", ["nane=a", "limit=0", "status=gone", "batch=a/b", "name=" + "x" * 256]
)
def test_wrong_and_unknown_parameters_are_refused(client, query):
    refusal(client.get(f"{URL}?{query}"), 422, "invalid_request")


def test_unknown_parameter_gets_the_names_of_those_that_there_are(client):
    error = refusal(client.get(f"{URL}?nane=a"), 422, "invalid_request")
    assert error.message == (
        "There is no parameter “nane”. There are: batch, limit, media_type, name, offset, status."
    )


def test_list_takes_the_same_number_of_queries_for_any_number_of_documents(client):
    counts = []
    for numbers in (range(1), range(1, 12)):
        for number in numbers:
            received(f"{number}.txt", str(number))
        with CaptureQueriesContext(connection) as queries:
            client.get(URL)
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_document_has_its_versions_and_numbers(client):
    job = ingested("a.txt", LONG)
    newer = received("a.txt", "newer")
    body = client.get(f"{URL}/{job.document_id}").json()
    assert (body["chunks"], body["entities"]) == (job.total_chunks, job.entities_total)
    assert body["relations"] == job.relations_total > 0
    versions = [(each["is_searchable"], each["job"]["job_id"]) for each in body["versions"]]
    assert versions == [(True, job.pk), (False, newer.pk)]


def test_chunks_are_paged_in_the_order_of_the_document(client):
    job = ingested("a.txt", LONG)
    url = f"{URL}/{job.document_id}/chunks"
    found = []
    for offset in range(0, job.total_chunks, 2):
        body = client.get(url, {"limit": 2, "offset": offset}).json()
        assert body["total"] == job.total_chunks > 3
        found += body["items"]
    assert [each["chunk_id"] for each in found] == [f"c-{n + 1}" for n in range(len(found))]
    starts = [each["start"] for each in found]
    assert starts == sorted(starts)
    assert found[0]["text"].startswith("Paragraph 0.")
    assert client.get(url, {"offset": 10_000}).json()["items"] == []


def test_entities_and_relations_name_their_chunks(client):
    job = ingested("a.txt")
    entities = client.get(f"{URL}/{job.document_id}/entities").json()
    assert entities["total"] == job.entities_total
    assert entities["items"][0]["mentions"] == [{"chunk_id": "c-1", "page": None}]
    relations = client.get(f"{URL}/{job.document_id}/relations").json()
    known = {each["name"] for each in entities["items"]}
    assert {relations["items"][0][end] for end in ("source", "target")} <= known


def test_jobs_of_a_document_are_listed_newest_first(client):
    old, new = ingested("a.txt"), ingested("a.txt", "newer")
    body = client.get(f"{URL}/{old.document_id}/jobs").json()
    assert [each["job_id"] for each in body["items"]] == [new.pk, old.pk]


@pytest.mark.parametrize("name", ["Bücher “neu”.html", 'a"b.html', "résumé; x.html"])
def test_original_file_is_a_download_that_no_browser_runs(client, name):
    html = "<script>alert(1)</script><p>Bees</p>"
    job = received(name, html)
    response = client.get(f"{URL}/{job.document_id}/file")
    assert response.getvalue() == html.encode()
    assert response["Content-Disposition"].startswith("attachment; filename")
    assert response["Content-Type"] == "application/octet-stream"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert response["Content-Length"] == str(len(html))
    if not name.isascii():
        assert quote(name, safe="!#$&+^`|~") in response["Content-Disposition"]


async def test_original_file_is_streamed_under_asgi(async_client):
    from asgiref.sync import sync_to_async

    job = await sync_to_async(received)("a.txt", LONG)
    response = await async_client.get(f"{URL}/{job.document_id}/file")
    assert b"".join([part async for part in response]).decode() == LONG


def test_missing_file_is_a_sentence_without_a_path(client, storage):  # noqa: F811
    job = received("a.txt")
    for path in stored_files(storage):
        path.unlink()
    for response in (
        client.get(f"{URL}/{job.document_id}/file"),
        client.post(f"{URL}/{_without_jobs(job)}/jobs"),
    ):
        error = refusal(response, 404, "not_found")
        assert error.message == "The file of “a.txt” is gone from the server. Upload it again."


def _without_jobs(job: Job) -> str:
    Job.objects.filter(document_id=job.document_id).delete()
    return job.document_id


def test_document_is_deleted_with_everything_and_its_job_stays(client, storage):  # noqa: F811
    job = ingested("a.txt")
    url = f"{URL}/{job.document_id}"
    assert client.delete(url).status_code == 204
    assert search("Babbage") == stored_files(storage) == []
    refusal(client.delete(url), 404, "not_found")
    refusal(client.get(url + "/chunks"), 404, "not_found")
    assert Job.objects.get().status == "succeeded"


def test_deleting_a_document_cancels_what_waits(client):
    job = received("a.txt")
    assert client.delete(f"{URL}/{job.document_id}").status_code == 204
    job.refresh_from_db()
    assert job.status == "cancelled"


def test_document_is_ingested_again_by_a_new_job_on_the_stored_file(client):
    job = ingested("a.txt", metadata={"team": "legal"})
    url = f"{URL}/{job.document_id}/jobs"
    response = client.post(url)
    assert response.status_code == 201
    again = Job.objects.get(pk=response.json()["job_id"])
    assert response["Location"] == response.json()["links"]["job"]
    assert (again.metadata, again.document_id) == ({"team": "legal"}, job.document_id)
    refusal(client.post(url), 409, "job_active")
    assert len(search("Babbage")) == 1
    ingest(again.pk)
    assert len(search("Babbage")) == 1
    assert not PendingVersion.objects.exists()


def test_refusing_task_queue_leaves_no_job(client, settings):
    job = ingested("a.txt")
    settings.TASKS = {"default": {"BACKEND": "tests.pipeline.uploads.test_receive.AwayBroker"}}
    refusal(client.post(f"{URL}/{job.document_id}/jobs"), 503, "unavailable")
    assert Job.objects.count() == 1


@pytest.mark.parametrize("document_id", ["nobody", "..", "a%0Ab"])
def test_unknown_document_is_not_found(client, document_id):
    refusal(client.get(f"{URL}/{document_id}"), 404, "not_found")


class TestAccess:
    @pytest.fixture(autouse=True)
    def users(self, settings):
        settings.INGESTION_PROGRESS_PUBLIC = False
        self.anna, self.bert = (User.objects.create_user(name) for name in ("anna", "bert"))
        self.viewing = Permission.objects.get(codename="view_job")
        self.starting = Permission.objects.get(codename="start_job")

    def test_documents_are_closed_by_default(self, client):
        job = ingested("a.txt")
        paths = ["", *(f"/{job.document_id}{end}" for end in ("", "/chunks", "/file", "/jobs"))]
        for path in paths:
            refusal(client.get(URL + path), 401, "unauthorized")
        client.force_login(self.anna)
        for path in paths:
            refusal(client.get(URL + path), 403, "forbidden")

    def test_viewers_change_nothing(self, client):
        job = ingested("a.txt")
        self.anna.user_permissions.add(self.viewing)
        client.force_login(self.anna)
        assert client.get(f"{URL}/{job.document_id}").status_code == 200
        refusal(client.delete(f"{URL}/{job.document_id}"), 403, "forbidden")
        refusal(client.post(f"{URL}/{job.document_id}/jobs"), 403, "forbidden")
        assert Document.objects.exists()

    def test_users_find_and_delete_their_own_documents(self, client, settings):
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
        own = ingested("own.txt", owner=self.anna)
        waiting = received("waiting.txt", owner=self.anna)
        other = ingested("other.txt", owner=self.bert)
        self.anna.user_permissions.add(self.viewing, self.starting)
        client.force_login(self.anna)
        assert names(client) == ["own.txt", "waiting.txt"]
        for response in (
            client.get(f"{URL}/{other.document_id}"),
            client.get(f"{URL}/{other.document_id}/file"),
            client.delete(f"{URL}/{other.document_id}"),
            client.post(f"{URL}/{other.document_id}/jobs"),
        ):
            refusal(response, 404, "not_found")
        assert client.delete(f"{URL}/{waiting.document_id}").status_code == 204
        Job.objects.create(id="b", document_id=own.document_id, owner=self.bert)
        refusal(client.delete(f"{URL}/{own.document_id}"), 403, "forbidden")


def test_error_of_the_vector_store_leaves_the_number_of_chunks_unknown(client, monkeypatch):
    from ingestion_progress.pipeline.exceptions import VectorStoreUnavailable
    from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors

    job = ingested("a.txt")

    def refuse(*_: object, **__: object) -> None:
        raise VectorStoreUnavailable("The search index cannot be used.")

    for name in ("count", "chunk_keys"):
        monkeypatch.setattr(EmbeddedVectors, name, refuse)
    body = json.loads(client.get(f"{URL}/{job.document_id}").content)
    assert body["chunks"] is None
    refusal(client.get(f"{URL}/{job.document_id}/chunks"), 503, "unavailable")
