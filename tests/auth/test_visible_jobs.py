"""VISIBLE_JOBS, with two users who have their own jobs: list, job, page, batch, search, admin."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from ingestion_progress.auth import permissions, tokens
from ingestion_progress.models import Job
from ingestion_progress.pipeline import search
from ingestion_progress.pipeline.models import Document, Edition
from ingestion_progress.pipeline.search import api as search_api
from ingestion_progress.tracker import fail_job, queue_job
from tests.support.api import JOBS, refusal

pytestmark = [pytest.mark.django_db, pytest.mark.database]

OWN_JOBS = "ingestion_progress.auth.visibility.own_jobs"
LIST = reverse("ingestion_progress:job_list")


def rule(name: str) -> str:
    return f"tests.support.rules.{name}"


@pytest.fixture(autouse=True)
def own_jobs(settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS


def user(name: str, **fields: object) -> User:
    created = User.objects.create_user(name, **fields)
    codenames = ["view_job", "start_job", "delete_job"]
    created.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return created


@pytest.fixture
def anna() -> User:
    return user("anna", is_staff=True)


@pytest.fixture
def bert() -> User:
    return user("bert", is_staff=True)


@pytest.fixture
def jobs(anna, bert) -> None:
    queue_job("a.pdf", job_id="a", owner=anna, document_id="doc-a", batch="import")
    queue_job("b.pdf", job_id="b", owner=bert, document_id="doc-b", batch="import")
    queue_job("c.pdf", job_id="c")


def logged_in(client: Client, who: User) -> Client:
    client.force_login(who)
    return client


def listed(client: Client, **query: str) -> list[str]:
    body = client.get(JOBS, query).json()
    assert body["total"] == len(body["items"])
    return [item["job_id"] for item in body["items"]]


@pytest.mark.usefixtures("jobs")
class TestTwoUsers:
    @pytest.mark.parametrize("query", [{}, {"batch": "import"}, {"status": "queued"}])
    def test_each_lists_and_counts_their_own_jobs(self, client, anna, bert, query):
        assert listed(logged_in(client, anna), **query) == ["a"]
        assert listed(logged_in(client, bert), **query) == ["b"]

    @pytest.mark.parametrize("query", ["?group=waiting", "?batch=import"])
    def test_pages_show_their_own_jobs(self, client, bert, query):
        html = logged_in(client, bert).get(f"{LIST}{query}").content.decode()
        assert re.findall(r'data-job="([\w-]+)"', html) == ["b"]
        row_of_batch = logged_in(client, bert).get(LIST).content.decode()
        assert "1 waiting" in row_of_batch
        assert "2 waiting" not in row_of_batch
        page = reverse("ingestion_progress:job_detail", args=["b"])
        assert client.get(page).status_code == 200

    @pytest.mark.parametrize("job_id", ["a", "nobody"])
    def test_the_job_of_another_does_not_exist(self, client, bert, job_id):
        logged_in(client, bert)
        for path in ("", "/snapshot", "/events", "/errors", "/samples"):
            refusal(client.get(f"{JOBS}/{job_id}{path}"), 404, "not_found")
        for path in ("cancellation", "retry"):
            address = f"{JOBS}/{job_id}/{path}"
            refusal(client.post(address, content_type="application/json"), 404, "not_found")
            page = reverse(f"ingestion_progress:job_{path}", args=[job_id])
            assert client.post(page).status_code == 404
        refusal(client.delete(f"{JOBS}/{job_id}"), 404, "not_found")
        page = reverse("ingestion_progress:job_detail", args=[job_id])
        assert client.get(page).status_code == 404
        assert Job.objects.get(pk="a").status == "queued"

    def test_their_own_jobs_can_be_cancelled_and_deleted(self, client, bert):
        logged_in(client, bert)
        assert client.post(f"{JOBS}/b/cancellation").status_code == 202
        assert client.delete(f"{JOBS}/b").status_code == 204

    def test_the_admin_shows_their_own_jobs(self, client, bert):
        logged_in(client, bert)
        html = client.get(reverse("admin:ingestion_progress_job_changelist")).content.decode()
        assert "b.pdf" in html
        assert "a.pdf" not in html
        page = reverse("admin:ingestion_progress_job_change", args=["a"])
        assert client.get(page).status_code == 302
        fail_job("a", "No text.")
        address = reverse("admin:ingestion_progress_job_changelist")
        client.post(address, {"action": "delete_selected", "_selected_action": ["a"], "post": "y"})
        assert Job.objects.filter(pk="a").exists()

    def test_a_token_shows_the_jobs_of_its_user(self, client, bert):
        def by(token: str) -> list[str]:
            headers = {"authorization": f"Bearer {token}"}
            return [each["job_id"] for each in client.get(JOBS, headers=headers).json()["items"]]

        of_bert, _ = tokens.issue(None, issuer_id=str(bert.pk))
        assert by(of_bert) == ["b"]
        of_nobody, _ = tokens.issue(None)
        assert sorted(by(of_nobody)) == ["a", "b", "c"]

    def test_a_superuser_finds_all_jobs(self, client):
        admin = User.objects.create_superuser("admin")
        assert sorted(listed(logged_in(client, admin))) == ["a", "b", "c"]

    def test_the_rule_gives_no_access_without_the_permission(self, client, anna):
        anna.user_permissions.clear()
        refusal(logged_in(client, anna).get(JOBS), 403, "forbidden")

    def test_can_view_must_agree_too(self, client, anna, settings):
        settings.INGESTION_PROGRESS_CAN_VIEW = rule("own_jobs_only")
        logged_in(client, anna)
        refusal(client.get(JOBS), 403, "forbidden")
        queue_job("x.pdf", job_id="anna-1", owner=anna)
        queue_job("x.pdf", job_id="anna-2")
        assert client.get(f"{JOBS}/anna-1").status_code == 200
        refusal(client.get(f"{JOBS}/anna-2"), 404, "not_found")
        refusal(client.get(f"{JOBS}/a"), 403, "forbidden")

    def test_the_search_is_limited_to_the_documents_of_their_jobs(self, client, bert, monkeypatch):
        for name in "ab":
            Document.objects.create(id=f"doc-{name}", name=name, size_bytes=1, published_epoch="1")
            Edition.objects.create(document_id=f"doc-{name}", epoch="1", job_id=name)
        limits = []

        def found(query, *, jobs, **others):
            limits.append(jobs)
            return []

        monkeypatch.setattr(search_api, "search", found)
        logged_in(client, bert).get("/api/v1/search", {"q": "word"})
        assert search._documents_of(limits[0]) == ["doc-b"]

    def test_everybody_of_a_public_site_finds_no_jobs_of_users(self, client, settings):
        settings.INGESTION_PROGRESS_PUBLIC = True
        assert listed(client) == []
        assert not permissions.is_open()


@pytest.mark.parametrize("token", ["x", "a.b.c"])
def test_a_token_that_is_refused_shows_nothing(rf, token):
    queue_job("c.pdf", job_id="c")
    request = rf.get("/", headers={"authorization": f"Bearer {token}"})
    assert not permissions.jobs_for(request).exists()
    assert permissions.is_hidden(request, "c")


def test_a_later_check_asks_the_rule_about_the_user_as_it_is_now(rf):
    queue_job("c.pdf", job_id="c")
    request = rf.get("/")
    request.user = User.objects.create_superuser("ada")
    assert permissions.visible_jobs(request).exists()
    User.objects.update(is_superuser=False)
    (visible,) = permissions.visible_jobs_again([request])
    assert not visible.exists()


def test_a_user_who_was_deleted_finds_nothing(rf, settings):
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = rule("newest_two")
    queue_job("c.pdf", job_id="c")
    ada = User.objects.create_user("ada")
    by_session = rf.get("/")
    by_session.user = ada
    by_token = rf.get("/", {"token": tokens.issue(None, issuer_id=str(ada.pk))[0]})
    assert all(found.exists() for found in permissions.visible_jobs_again([by_session, by_token]))
    User.objects.filter(pk=ada.pk).delete()
    for found in permissions.visible_jobs_again([by_session, by_token]):
        assert not found.exists()


def test_a_later_check_without_a_database_refuses_nobody(rf, monkeypatch):
    def fail(request):
        raise OperationalError("the database is down")

    request = rf.get("/")
    monkeypatch.setattr(permissions, "jobs_by_rule", fail)
    with pytest.raises(OperationalError):
        permissions.visible_jobs_again([request])


def test_any_query_of_jobs_is_a_rule(rf, settings):
    for number in range(3):
        queue_job("a.pdf", job_id=f"job-{number}")
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = rule("newest_two")
    request = rf.get("/")
    assert permissions.jobs_for(request).count() == 2
    assert permissions.is_hidden(request, "job-0")
    assert not permissions.is_hidden(request, "job-2")


@pytest.mark.parametrize("name", ["united", "without_duplicates"])
def test_each_job_of_a_union_or_of_a_distinct_query_counts(rf, settings, name):
    for number in range(2):
        queue_job("a.pdf", job_id=f"job-{number}")
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = rule(name)
    found = permissions.jobs_for(rf.get("/"))
    assert list(found.values_list("status", flat=True)) == ["queued", "queued"]
    assert not permissions.is_hidden(rf.get("/"), "job-0")


@pytest.mark.parametrize("name", ["names_of_jobs", "no_query", "batches"])
def test_a_rule_that_returns_something_else_is_a_mistake(rf, settings, name):
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = rule(name)
    if name == "names_of_jobs":
        assert not permissions.jobs_for(rf.get("/")).exists()
        return
    with pytest.raises(ImproperlyConfigured, match="must return a QuerySet of jobs"):
        permissions.jobs_for(rf.get("/"))


def test_without_a_rule_there_is_no_query(rf, settings, django_assert_num_queries):
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = ""
    with django_assert_num_queries(0):
        assert permissions.visible_jobs(rf.get("/")) is None
        assert not permissions.is_hidden(rf.get("/"), "a")
