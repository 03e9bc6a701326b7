"""The progress tables in a database of their own: users and documents are in another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PROJECT_DATABASES
from tests.support.live import LiveProject, live_project
from tests.support.servers import postgresql

pytestmark = pytest.mark.once

TWO_USERS = """
    import json
    from django.contrib.auth.models import Permission, User
    from django.core.files.uploadedfile import SimpleUploadedFile
    from django.db import connections
    from django.test import Client, override_settings
    from ingestion_progress.models import Batch, Job
    from ingestion_progress.pipeline.ingestion import ingest

    API = "/api/v1/admin/ingestion"
    RULE = "ingestion_progress.auth.visibility.own_jobs"
    asked = {}

    def client_of(name):
        user = User.objects.create_user(name, is_staff=True)
        user.user_permissions.set(
            Permission.objects.filter(content_type__app_label="ingestion_progress")
        )
        client = Client(SERVER_NAME="localhost")
        client.force_login(user)
        return client

    def seen_by(client):
        jobs = client.get(f"{API}/jobs", {"owner": "me"}).json()
        batches = client.get(f"{API}/batches", {"owner": "me"}).json()["items"]
        admin = [
            client.get(f"/admin/ingestion_progress/{model}/").content.decode()
            for model in ("job", "batch")
        ]
        search = client.get("/api/v1/search", {"q": "honey"}).json()
        return {
            "jobs": jobs["total"],
            "batches": [[b["name"], b["owner"]["name"], b["progress"]["jobs"]] for b in batches],
            "admin": ["bees.txt" in admin[0], "Import" in admin[1]],
            "page": 'id="batch"' in client.get("/", {"batch": "import"}).content.decode(),
            "search": len(search["items"]),
        }

    with override_settings(
        INGESTION_PROGRESS_PUBLIC=False, INGESTION_PROGRESS_VISIBLE_JOBS=RULE
    ):
        anna, bert = client_of("anna"), client_of("bert")
        anna.post(
            f"{API}/batches", {"batch_id": "import", "name": "Import"},
            content_type="application/json",
        )
        upload = {
            "file": SimpleUploadedFile("bees.txt", b"Bees make honey."),
            "batch": "import",
            "metadata": '{"team": "legal"}',
        }
        asked["uploaded"] = anna.post(f"{API}/jobs", upload).status_code
        job = Job.objects.get()
        ingest(job.pk)
        asked["metadata"] = job.metadata
        asked["anna"], asked["bert"] = seen_by(anna), seen_by(bert)
        upload["file"] = SimpleUploadedFile("wasps.txt", b"Wasps.")
        asked["joined"] = bert.post(f"{API}/jobs", upload).status_code
        asked["deleted"] = [
            client.delete(f"{API}/batches/import").status_code for client in (bert, anna)
        ]
        asked["left"] = [Job.objects.count(), Batch.objects.count()]
    asked["tables"] = [
        [f"ingestion_{name}" in connections[alias].introspection.table_names()
         for name in ("progress_job", "progress_batch", "pipeline_document")]
        for alias in ("default", "progress")
    ]
    print(json.dumps(asked))
"""


@pytest.fixture(params=PROJECT_DATABASES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveProject]:
    if request.param == "postgresql":
        main, progress = (postgresql().create_database() for _ in range(2))
    else:
        main, progress = (f"sqlite:///{tmp_path / name}.sqlite3" for name in ("main", "progress"))
    with live_project(tmp_path, main, PROGRESS_DATABASE_URL=progress) as project:
        yield project


def test_owners_batches_and_their_rule_work_with_a_separate_progress_database(project):
    asked = project.ask(TWO_USERS)
    assert asked["tables"] == [[False, False, True], [True, True, False]]
    assert (asked["uploaded"], asked["metadata"]) == (201, {"team": "legal"})
    assert asked["anna"] == {
        "jobs": 1,
        "batches": [["Import", "anna", 1]],
        "admin": [True, True],
        "page": True,
        "search": 1,
    }
    assert asked["bert"] == {
        "jobs": 0, "batches": [], "admin": [False, False], "page": False, "search": 0
    }  # fmt: skip
    assert (asked["joined"], asked["deleted"], asked["left"]) == (422, [404, 204], [0, 0])


DOCUMENTS = """
    import json
    from django.contrib.auth.models import User
    from django.core.files.uploadedfile import SimpleUploadedFile
    from django.test import Client, override_settings
    from ingestion_progress.models import Job
    from ingestion_progress.pipeline.ingestion import ingest
    from ingestion_progress.pipeline.models import Document

    anna, bert = (User.objects.create_superuser(name) for name in ("anna", "bert"))
    rule = "ingestion_progress.auth.visibility.own_jobs"
    clients = []
    for user in (anna, bert):
        User.objects.filter(pk=user.pk).update(is_superuser=user is anna)
        clients.append(Client(headers={"host": "localhost"}))
        clients[-1].force_login(user)
    one, other = clients

    def upload(name, text, **more):
        file = SimpleUploadedFile(name, text)
        return one.post("/api/v1/admin/ingestion/jobs", {"file": file, **more})

    def names(client, **query):
        return [each["name"] for each in client.get("/api/v1/documents", query).json()["items"]]

    def found(**query):
        body = one.get("/api/v1/search", {"q": "honey", **query}).json()
        return sorted(hit["document_name"] for hit in body["items"])

    first = upload("a.txt", b"Bees make honey.", batch="x", metadata='{"team": "legal"}').json()
    ingest(first["job_id"])
    upload("b.txt", b"Honey for tea.")
    asked = {
        "known": upload("a.txt", b"Bees make honey.").status_code,
        "all": names(one), "batch": names(one, batch="x"), "queued": names(one, status="queued"),
        "search": [found(batch="x"), found(metadata="team:legal"), found(metadata="team:x")],
    }
    with override_settings(INGESTION_PROGRESS_VISIBLE_JOBS=rule, INGESTION_PROGRESS_PUBLIC=True):
        asked["visible"] = [names(one), names(other)]
    for document in Document.objects.all():
        one.delete(f"/api/v1/documents/{document.pk}")
    statuses = Job.objects.order_by("created_at").values_list("status", flat=True)
    asked["deleted"] = [Document.objects.count(), list(statuses), found()]
    print(json.dumps(asked))
"""


def test_documents_work_with_a_separate_progress_database(project):
    assert project.ask(DOCUMENTS) == {
        "known": 200,
        "all": ["a.txt", "b.txt"],
        "batch": ["a.txt"],
        "queued": ["b.txt"],
        "search": [["a.txt"], ["a.txt"], []],
        "visible": [["a.txt", "b.txt"], []],
        "deleted": [0, ["succeeded", "cancelled"], []],
    }
