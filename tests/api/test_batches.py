"""The JSON API, the page and the admin of batches."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ingestion_progress import recovery
from ingestion_progress.admin import batches as admin_batches
from ingestion_progress.auth import tokens
from ingestion_progress.models import Batch, Job
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.recovery import retention
from ingestion_progress.tracker import create_batch, fail_job, queue_job
from ingestion_progress.web import batches as web_batches
from tests.support.api import refusal
from tests.support.page_jobs import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

BATCHES = "/api/v1/admin/ingestion/batches"
OWN_JOBS = "ingestion_progress.auth.visibility.own_jobs"
LIST = reverse("ingestion_progress:job_list")
ADMIN = reverse("admin:ingestion_progress_batch_changelist")


def jobs_of(batch: str, count: int, **fields: object) -> None:
    for number in range(count):
        queue_job("a.pdf", job_id=f"{batch}-{number}", batch=batch, task="shop.ingest", **fields)


def send(client: Client, method: str, path: str, data: object = None):
    return getattr(client, method)(f"{BATCHES}{path}", data, content_type="application/json")


def listed(client: Client, **query: object) -> list[str]:
    body = client.get(BATCHES, query).json()
    return [item["batch_id"] for item in body["items"]]


@pytest.fixture
def many_jobs(monkeypatch) -> None:
    """More jobs of a batch than a request deletes."""
    monkeypatch.setattr(recovery, "DELETE_SECONDS", -1)
    for module in (admin_batches, web_batches):
        monkeypatch.setattr(module, "DELETE_SECONDS", -1)
    monkeypatch.setattr(retention, "CHUNK", 2)
    jobs_of("import", 7)
    Job.objects.update(status=JobStatus.FAILED, finished_at=database_now())


class TestApi:
    def test_a_batch_has_its_record_its_progress_and_its_links(self, client):
        created = send(client, "post", "", {"name": "May", "max_running": 2, "batch_id": "a b"})
        assert created.status_code == 201
        jobs_of("a b", 2)
        fail_job("a b-0", "No text.")
        batch = client.get(f"{BATCHES}/a b").json()
        assert (batch["name"], batch["max_running"], batch["owner"]) == ("May", 2, None)
        assert batch["progress"]["jobs"] == 2
        assert batch["progress"]["counts"]["failed"] == batch["progress"]["counts"]["queued"] == 1
        for link in batch["links"].values():
            if link != batch["links"]["progress"]:
                assert client.get(link).status_code == 200
        jobs = client.get(batch["links"]["jobs"]).json()
        assert jobs["total"] == 2

    def test_a_batch_has_a_forecast_while_jobs_are_left(self, client, admin_client):
        jobs_of("import", 2)
        forecast = client.get(f"{BATCHES}/import").json()["progress"]["forecast"]
        assert forecast == {
            "likely_ms": 0, "low_ms": 0, "high_ms": 0, "at_once": 0, "reason": "queued"
        }  # fmt: skip
        assert "Waiting for a worker</span>" in text_of(client, f"{LIST}?batch=import")
        fail_job("import-0", "No text.")
        now = database_now()
        Job.objects.filter(pk="import-1").update(
            status=JobStatus.RUNNING,
            **dict.fromkeys(["started_at", "updated_at", "heartbeat_at"], now),
            earliest_end_at=now + timedelta(minutes=2),
            likely_end_at=now + timedelta(minutes=3),
            latest_end_at=now + timedelta(minutes=5),
            former_jobs=1,
        )
        forecast = client.get(f"{BATCHES}/import").json()["progress"]["forecast"]
        assert 2 * 60_000 < forecast["likely_ms"] <= 3 * 60_000
        assert (forecast["at_once"], forecast["reason"]) == (1, None)
        page = reverse("admin:ingestion_progress_batch_change", args=["import"])
        for shown_by, address in (
            (client, f"{LIST}?batch=import"), (admin_client, ADMIN), (admin_client, page)
        ):  # fmt: skip
            assert "about 3\u00a0min left (1–5\u00a0min)" in text_of(shown_by, address)
        fail_job("import-1", "No text.")
        assert client.get(f"{BATCHES}/import").json()["progress"]["forecast"] is None

    def test_the_creator_owns_the_batch(self, client):
        anna = User.objects.create_user("anna")
        client.force_login(anna)
        owner = send(client, "post", "", {}).json()["owner"]
        assert owner == {"id": str(anna.pk), "name": "anna"}
        create_batch(batch_id="other")
        assert "other" not in listed(client, owner="me")
        assert listed(client, owner="nobody") == []

    def test_creating_one_counts_as_an_upload(self, client, settings):
        settings.INGESTION_PROGRESS_UPLOADS_PER_HOUR_PER_ADDRESS = 2
        for _ in range(2):
            assert send(client, "post", "", {}).status_code == 201
        refusal(send(client, "post", "", {}), 429, "too_many_requests")
        assert Batch.objects.count() == 2

    def test_an_id_that_is_taken_or_invalid_is_refused(self, client):
        jobs_of("import", 1)
        refusal(send(client, "post", "", {"batch_id": "import"}), 409, "batch_exists")
        for data in ({"batch_id": "a/b"}, {"max_running": -1}, {"name": "x" * 256}, {"x": 1}):
            refusal(send(client, "post", "", data), 422, "invalid_request")

    @pytest.mark.parametrize("batch_id", ["nobody", "a%00b", "x" * 300])
    def test_an_unknown_batch_is_not_found(self, client, batch_id):
        for method, path in (
            *(("get", ""), ("patch", ""), ("delete", "")),
            *(("post", "/cancellation"), ("post", "/retry")),
        ):
            response = send(client, method, f"/{batch_id}{path}", None if method == "get" else {})
            refusal(response, 404, "not_found")

    def test_the_newest_batch_is_first_and_pages_cost_the_same(self, client):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert len(listed(client)) == Batch.objects.count()
            return len(captured)

        for name in ("a", "b"):
            jobs_of(name, 1)
        assert listed(client) == ["b", "a"]
        assert listed(client, limit=1, offset=1) == ["a"]
        cursor = client.get(BATCHES, {"limit": 1}).json()["next_cursor"]
        assert listed(client, cursor=cursor) == ["a"]
        before = queries()
        for number in range(10):
            jobs_of(f"batch-{number}", 2)
        assert queries() == before

    def test_name_and_limit_can_be_changed(self, client):
        Job.objects.create(batch="old")
        changed = send(client, "patch", "/old", {"name": "May"}).json()
        assert (changed["name"], changed["max_running"]) == ("May", 0)
        changed = send(client, "patch", "/old", {"max_running": 3}).json()
        assert (changed["name"], changed["max_running"]) == ("May", 3)

    def test_two_changes_at_the_same_time_keep_both(self, client, monkeypatch):
        create_batch("May", batch_id="import")
        find = Batch.find

        def found_before_another_change(*args, **kwargs):
            found = find(*args, **kwargs)
            Batch.objects.filter(pk="import").update(max_running=F("max_running") + 1)
            return found

        monkeypatch.setattr(Batch, "find", found_before_another_change)
        changed = send(client, "patch", "/import", {"name": "June"}).json()
        assert (changed["name"], changed["max_running"]) == ("June", 2)

    def test_jobs_are_cancelled_retried_and_deleted_together(self, client):
        jobs_of("import", 3)
        fail_job("import-0", "No text.")
        refusal(send(client, "delete", "/import"), 409, "batch_active")
        result = send(client, "post", "/import/cancellation").json()
        assert (result["changed"], result["refused"]) == (2, 0)
        assert result["batch"]["progress"]["counts"]["cancelled"] == 2
        Job.objects.filter(pk="import-1").update(status=JobStatus.FAILED, task="")
        result = send(client, "post", "/import/retry", {"only": "all"}).json()
        assert (result["changed"], result["refused"]) == (1, 1)
        assert [each["job_id"] for each in result["reasons"]] == ["import-1"]
        send(client, "post", "/import/cancellation")
        assert send(client, "delete", "/import").status_code == 204
        assert not Job.objects.exists()
        assert listed(client) == []

    def test_a_large_batch_is_deleted_by_several_requests(self, client, admin_client, many_jobs):
        assert send(client, "delete", "/import").json() == {"deleted": 2, "left": 5}
        page = reverse("ingestion_progress:batch_deletion", args=["import"])
        html = client.post(page, follow=True).content.decode()
        assert "Deleted so far: 2 jobs. To delete the other 3 jobs, delete the batch again." in html
        data = {"action": "delete_selected", "_selected_action": ["import"]}
        html = admin_client.post(ADMIN, data, follow=True).content.decode()
        assert "Not yet deleted: import. Deleted so far: 2 jobs. To delete the other 1 job," in html
        assert send(client, "delete", "/import").status_code == 204
        assert listed(client) == []

    def test_a_reader_may_look_only(self, client, settings):
        settings.INGESTION_PROGRESS_PUBLIC = False
        jobs_of("import", 1)
        refusal(client.get(BATCHES), 401, "unauthorized")
        reader = User.objects.create_user("reader")
        reader.user_permissions.set(Permission.objects.filter(codename="view_job"))
        client.force_login(reader)
        assert listed(client) == ["import"]
        for method, path in (("patch", ""), ("delete", ""), ("post", "/retry")):
            refusal(send(client, method, f"/import{path}", {}), 403, "forbidden")


class TestVisibleJobs:
    @pytest.fixture(autouse=True)
    def two_users(self, client, settings):
        settings.INGESTION_PROGRESS_PUBLIC = False
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
        self.anna, self.bert = (User.objects.create_user(name) for name in ("anna", "bert"))
        for user in (self.anna, self.bert):
            codenames = ["view_job", "start_job"]
            user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        jobs_of("anna", 2, owner=self.anna)
        queue_job("a.pdf", job_id="shared-a", owner=self.anna, batch="shared")
        queue_job("b.pdf", job_id="shared-b", owner=self.bert, batch="shared")
        client.force_login(self.bert)

    def test_a_batch_exists_for_the_owners_of_its_jobs_and_counts_these(self, client):
        assert listed(client) == ["shared"]
        assert client.get(f"{BATCHES}/shared").json()["progress"]["jobs"] == 1
        refusal(client.get(f"{BATCHES}/anna"), 404, "not_found")
        assert listed(client, owner="me") == []

    def test_actions_concern_the_own_jobs(self, client):
        refusal(send(client, "post", "/anna/cancellation"), 404, "not_found")
        assert send(client, "post", "/shared/cancellation").json()["changed"] == 1
        assert Job.objects.get(pk="shared-a").status == JobStatus.QUEUED
        refusal(send(client, "delete", "/shared"), 403, "forbidden")
        refusal(send(client, "patch", "/shared", {"name": "mine"}), 403, "forbidden")

    def test_an_empty_batch_exists_for_its_owner(self, client):
        batch_id = send(client, "post", "", {"name": "mine"}).json()["batch_id"]
        assert batch_id in listed(client)
        client.force_login(self.anna)
        refusal(client.get(f"{BATCHES}/{batch_id}"), 404, "not_found")

    def test_no_token_widens_what_a_session_may_change(self, client):
        tokens_of = [None, str(self.anna.pk)]
        presented = ["x", *(tokens.issue(None, issuer_id=issuer)[0] for issuer in tokens_of)]
        batch = f"{BATCHES}/anna"
        for token in presented:
            headers = {"authorization": f"Bearer {token}"}
            for send_to, address in (
                (client.delete, batch),
                (client.patch, batch),
                (client.post, f"{batch}/cancellation"),
                (client.post, f"{batch}/retry"),
                (client.post, "/api/v1/admin/ingestion/jobs/anna-0/errors/1/resolution"),
                (client.delete, "/api/v1/admin/ingestion/jobs/anna-0/errors/1/resolution"),
                (client.delete, f"{batch}?token={token}"),
            ):
                answer = send_to(address, {}, content_type="application/json", headers=headers)
                refusal(answer, 404, "not_found")
        assert Job.objects.of_batch("anna").filter(status=JobStatus.QUEUED).count() == 2
        create_batch(batch_id="empty", owner=self.anna)
        refusal(client.delete(f"{BATCHES}/empty", headers=headers), 404, "not_found")

    @pytest.mark.parametrize("token", ["x", "anna"])
    def test_no_token_widens_what_the_admin_shows(self, client, token):
        self.bert.is_staff = True
        self.bert.save()
        text = token if token == "x" else tokens.issue(None, issuer_id=str(self.anna.pk))[0]
        page = reverse("admin:ingestion_progress_batch_change", args=["anna"])
        assert client.get(page, {"token": text}).status_code == 302
        shared = reverse("admin:ingestion_progress_batch_change", args=["shared"])
        html = client.get(shared, headers={"authorization": f"Bearer {text}"}).content.decode()
        assert 'name="max_running"' not in html

    def test_can_view_must_permit_the_list(self, client, settings):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"
        for method, path in (
            *(("post", ""), ("patch", "/shared"), ("delete", "/shared")),
            *(("post", "/shared/cancellation"), ("post", "/shared/retry")),
        ):
            refusal(send(client, method, path, {}), 403, "forbidden")
        assert Job.objects.get(pk="shared-b").status == JobStatus.QUEUED

    def test_the_page_shows_what_may_be_done(self, client):
        html = client.get(LIST, {"batch": "shared"}).content.decode()
        assert "Cancel all" in html
        assert "Name and limit" not in html
        change = reverse("ingestion_progress:batch_change", args=["shared"])
        assert client.post(change, {"name": "mine"}).status_code == 403
        assert client.get(LIST, {"batch": "anna"}).context["batch_view"] is None


class TestPage:
    def url(self, action: str, batch: str = "import") -> str:
        return reverse(f"ingestion_progress:batch_{action}", args=[batch])

    def test_its_head_has_the_name_the_numbers_and_the_actions(self, client):
        create_batch("<May>", batch_id="import", max_running=2)
        jobs_of("import", 2)
        fail_job("import-0", "No text.")
        html = unescape(text_of(client, f"{LIST}?batch=import"))
        assert '<bdi data-field="batch.name"><May></bdi>' in html
        assert "1 waiting · 1 failed" in html
        assert "at most 2 at the same time" in html
        assert re.findall(r'action="/batches/import/(\w+)/"', html) == [
            "cancellation", "retry", "change",
        ]  # fmt: skip

    def test_its_forms_change_the_batch_and_its_jobs(self, client):
        jobs_of("import", 2)
        fail_job("import-0", "No text.")
        client.post(self.url("change"), {"name": " May ", "max_running": "3"})
        batch = Batch.objects.get()
        assert (batch.name, batch.max_running) == ("May", 3)
        html = client.post(self.url("retry"), follow=True).content.decode()
        assert "Queued again: 1 job." in html
        html = client.post(self.url("deletion"), follow=True).content.decode()
        assert "queued or running" in html
        html = client.post(self.url("cancellation"), follow=True).content.decode()
        assert "Cancellation requested: 2 jobs." in html
        html = client.post(self.url("deletion"), follow=True).content.decode()
        assert "Deleted: May, 2 jobs." in html
        assert not Job.objects.exists()

    @pytest.mark.parametrize("limit", ["-1", "two", "9" * 20])
    def test_an_invalid_limit_is_refused(self, client, limit):
        jobs_of("import", 1)
        response = client.post(self.url("change"), {"name": "x", "max_running": limit})
        assert response.status_code == 400
        assert Batch.objects.get().name == ""

    def test_a_batch_that_does_not_exist_is_not_found(self, client):
        for action in ("cancellation", "retry", "change", "deletion"):
            assert client.post(self.url(action)).status_code == 404


class TestAdmin:
    def test_batches_are_listed_with_few_queries(self, admin_client):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert admin_client.get(ADMIN).status_code == 200
            return len(captured)

        jobs_of("a", 1)
        queries()
        before = queries()
        for number in range(10):
            jobs_of(f"batch-{number}", 2)
        assert queries() == before
        assert "2 waiting" in admin_client.get(ADMIN).content.decode()

    def test_a_batch_can_be_renamed(self, admin_client):
        jobs_of("import", 1)
        page = reverse("admin:ingestion_progress_batch_change", args=["import"])
        assert "1 waiting" in admin_client.get(page).content.decode()
        admin_client.post(page, {"name": "May", "max_running": "2"})
        batch = Batch.objects.get()
        assert (batch.name, batch.max_running) == ("May", 2)

    def test_jobs_of_batches_are_cancelled_retried_and_deleted(self, admin_client):
        jobs_of("import", 2)
        jobs_of("other", 1)
        fail_job("import-0", "No text.")

        def act(action: str) -> str:
            data = {"action": action, "_selected_action": ["import"]}
            return admin_client.post(ADMIN, data, follow=True).content.decode()

        assert "Queued again: 1 job." in act("retry_failed_jobs")
        assert "queued or running" in act("delete_selected")
        assert "Cancellation requested: 2 jobs." in act("cancel_jobs")
        assert "Deleted: import, 2 jobs." in act("delete_selected")
        assert list(Job.objects.values_list("pk", flat=True)) == ["other-0"]
        assert act("cancel_jobs").count('value="delete_selected"') == 1
