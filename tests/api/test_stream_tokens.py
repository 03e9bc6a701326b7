"""Issuing stream tokens through the API, and reading with them."""

from __future__ import annotations

import time
from datetime import datetime

import jwt
import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from ingestion_progress.auth import tokens
from ingestion_progress.tracker import queue_job
from tests.support.api import JOBS, refusal

pytestmark = pytest.mark.django_db

URL = "/api/v1/admin/ingestion/stream-tokens"


@pytest.fixture(autouse=True)
def _closed(settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    queue_job("a.pdf", job_id="a")
    queue_job("b.pdf", job_id="b")


@pytest.fixture
def viewer(client):
    """Logged in, with the permission to view."""
    user = User.objects.create_user("ada")
    user.user_permissions.set(Permission.objects.filter(codename="view_job"))
    client.force_login(user)
    return user


def issue(client, jobs, **more):
    return client.post(URL, {"jobs": jobs, **more}, content_type="application/json")


def token_for(client, jobs):
    response = issue(client, jobs)
    assert response.status_code == 200, response.content
    return response.json()["token"]


def read(path, token):
    """The response to a request with the token, which is the same by header and by URL."""
    bare = Client()
    by_header = bare.get(JOBS + path, headers={"Authorization": f"Bearer {token}"})
    by_url = bare.get(JOBS + path, {"token": token})
    assert by_header.status_code == by_url.status_code
    return by_url


class TestIssuing:
    def test_viewer_gets_a_token_that_is_not_cached(self, client, viewer):
        response = issue(client, ["a", "later"], minutes=5)

        assert response.status_code == 200
        assert response["Cache-Control"] == "no-store"
        assert response.json()["jobs"] == ["a", "later"]
        token = tokens.verify(response.json()["token"])
        assert token.jobs == {"a", "later"}
        assert token.issuer_id == str(viewer.pk)
        assert response.json()["id"] == token.id
        expires_at = datetime.fromisoformat(response.json()["expires_at"])
        assert expires_at.timestamp() == token.expires_at

    def test_anonymous_request_gets_401(self, client):
        refusal(issue(client, ["a"]), 401, "unauthorized")

    @pytest.mark.parametrize("jobs", [["a"], ["nobody"], "*"])
    def test_user_without_the_permission_gets_403(self, client, jobs):
        client.force_login(User.objects.create_user("ben"))
        refusal(issue(client, jobs), 403, "forbidden")

    def test_token_cannot_be_exchanged_for_another(self, client, viewer):
        token = token_for(client, "*")
        for request in (
            {"path": URL, "headers": {"Authorization": f"Bearer {token}"}},
            {"path": f"{URL}?token={token}"},
        ):
            answer = Client().post(data={"jobs": ["a"]}, content_type="application/json", **request)
            refusal(answer, 401, "unauthorized")

    def test_token_cannot_be_exchanged_where_a_rule_permits_people_without_a_login(
        self, client, viewer, settings
    ):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"
        queue_job("a.pdf", job_id="ada-1")
        token = token_for(client, ["ada-1"])
        assert read("/ada-1", token).status_code == 200
        answer = Client().post(f"{URL}?token={token}", {"jobs": ["ada-1"]}, "application/json")
        refusal(answer, 401, "unauthorized")

    def test_people_without_a_login_get_tokens_where_the_site_or_a_rule_permits_them(
        self, client, settings
    ):
        settings.INGESTION_PROGRESS_PUBLIC = True
        assert token_for(client, "*")
        settings.INGESTION_PROGRESS_PUBLIC = False
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.asked_in_person"
        for jobs, status in ((["a"], 200), (["b"], 401)):
            answer = client.post(URL, {"jobs": jobs}, "application/json", headers={"X-Job": "a"})
            assert answer.status_code == status

    def test_login_needs_the_csrf_token(self, client, viewer):
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(viewer)
        refusal(issue(strict, ["a"]), 403, "csrf_failed")

    @pytest.mark.parametrize(
        "wanted",
        [
            {"jobs": []},
            {"jobs": "a"},
            {"jobs": [""]},
            {"jobs": ["a/b"]},
            {"jobs": [str(n) for n in range(51)]},
            {"jobs": ["a"], "minutes": 0},
            {"jobs": ["a"], "minutes": 61},
            {"jobs": ["a"], "for": "ever"},
            {},
        ],
    )
    def test_invalid_request_is_refused(self, client, viewer, wanted):
        refusal(client.post(URL, wanted, content_type="application/json"), 422, "invalid_request")

    @pytest.mark.parametrize(
        ("wanted", "field"),
        [
            ({"jobs": ["a", "a/b"]}, "jobs.ids.1"),
            ({"jobs": "a"}, "jobs.all"),
            ({"jobs": ["a"], "minutes": 0}, "minutes"),
            ({"jobs": ["a"], "for": "ever"}, "for"),
        ],
    )
    def test_invalid_field_is_named_once(self, client, viewer, wanted, field):
        response = client.post(URL, wanted, content_type="application/json")
        error = refusal(response, 422, "invalid_request")
        assert [entry.field for entry in error.errors] == [field]

    def test_document_has_the_maximum_lifetime(self, client, settings):
        settings.INGESTION_PROGRESS_TOKEN_MAX_MINUTES = 7
        document = client.get("/api/v1/openapi.json").json()
        minutes = document["components"]["schemas"]["StreamTokenRequest"]["properties"]["minutes"]
        assert minutes["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0, "maximum": 7}

    def test_can_view_hook_is_called_for_each_job(self, client, viewer, settings):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"

        assert issue(client, ["ada-1", "ada-2"]).status_code == 200
        refusal(issue(client, ["ada-1", "ben-1"]), 403, "forbidden")
        refusal(issue(client, "*"), 403, "forbidden")

    def test_server_without_a_private_key_answers_501(self, client, viewer, settings):
        settings.INGESTION_PROGRESS_TOKEN_ALGORITHM = "ES256"
        settings.INGESTION_PROGRESS_TOKEN_PUBLIC_KEY = "anything"
        refusal(issue(client, ["a"]), 501, "tokens_unavailable")


class TestReading:
    @pytest.mark.parametrize("path", ["/a", "/a/snapshot", "/a/events"])
    def test_token_permits_reading_its_job(self, client, viewer, path):
        assert read(path, token_for(client, ["a"])).status_code == 200

    @pytest.mark.parametrize("path", ["", "/b", "/b/snapshot", "/b/events", "/nobody"])
    def test_token_permits_nothing_else_and_hides_which_jobs_exist(self, client, viewer, path):
        refusal(read(path, token_for(client, ["a"])), 403, "forbidden")

    def test_token_for_all_jobs_permits_the_list(self, client, viewer):
        token = token_for(client, "*")
        assert read("", token).json()["total"] == 2
        refusal(read("/nobody", token), 404, "not_found")

    def test_invalid_token_is_401(self, settings):
        settings.INGESTION_PROGRESS_TOKEN_KEY = "k" * 32
        claims = {"aud": "ingestion-progress", "exp": time.time() - 1, "jobs": ["a"]}
        expired = jwt.encode(claims, "k" * 32)
        refusal(read("/a", expired), 401, "token_expired")
        refusal(read("/a", "nonsense"), 401, "token_invalid")

    def test_token_is_invalid_without_the_account_or_the_permission(self, client, viewer):
        token = token_for(client, ["a"])
        viewer.user_permissions.clear()
        refusal(read("/a", token), 403, "forbidden")
        viewer.user_permissions.set(Permission.objects.filter(codename="view_job"))
        assert read("/a", token).status_code == 200
        User.objects.filter(pk=viewer.pk).update(is_active=False)
        refusal(read("/a", token), 403, "forbidden")
        viewer.delete()
        refusal(read("/a", token), 403, "forbidden")

    def test_can_view_hook_is_called_with_the_issuer(self, client, viewer, settings):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"
        token = token_for(client, ["ada-1"])
        refusal(read("/ada-1", token), 404, "not_found")
        User.objects.update(username="eve")
        refusal(read("/ada-1", token), 403, "forbidden")

    def test_token_does_not_permit_changes(self, client, viewer):
        viewer.user_permissions.set(Permission.objects.filter(codename__endswith="_job"))
        bare, headers = Client(), {"Authorization": f"Bearer {token_for(client, '*')}"}
        refusal(bare.post(f"{JOBS}/a/cancellation", headers=headers), 401, "unauthorized")
        refusal(bare.delete(f"{JOBS}/a", headers=headers), 401, "unauthorized")
        refusal(bare.post(JOBS, headers=headers), 401, "unauthorized")

    def test_token_does_not_permit_the_pages(self, client, viewer):
        token = token_for(client, "*")
        answer = Client().get("/jobs/a/", {"token": token})
        assert answer.status_code == 302
        assert token not in answer["Location"]

    def test_token_takes_precedence_over_the_session(self, client, viewer):
        answer = client.get(f"{JOBS}/b", {"token": token_for(client, ["a"])})
        refusal(answer, 403, "forbidden")
