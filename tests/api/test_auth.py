"""Access to the API, and its protection against forged requests."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.tracker import queue_job
from tests.support.api import JOBS, refusal

pytestmark = pytest.mark.django_db


def user_with(*codenames):
    user = User.objects.create_user("somebody")
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


class TestAccess:
    @pytest.fixture(autouse=True)
    def _closed(self, settings):
        settings.INGESTION_PROGRESS_PUBLIC = False
        queue_job("a.pdf", job_id="waiting")

    READS = ("", "/waiting", "/waiting/snapshot", "/waiting/events", "/nobody", "/a%00b")

    @pytest.mark.parametrize("path", READS)
    def test_anonymous_request_gets_401(self, client, path):
        refusal(client.get(JOBS + path), 401, "unauthorized")

    @pytest.mark.parametrize("path", READS)
    def test_user_without_permission_gets_403(self, client, path):
        client.force_login(user_with())
        refusal(client.get(JOBS + path), 403, "forbidden")

    def test_viewer_may_read_but_not_change(self, client):
        client.force_login(user_with("view_job"))
        assert client.get(f"{JOBS}/waiting").status_code == 200
        refusal(client.post(f"{JOBS}/waiting/cancellation"), 403, "forbidden")
        refusal(client.delete(f"{JOBS}/waiting"), 403, "forbidden")
        assert Job.objects.get().status == JobStatus.QUEUED

    def test_starter_may_cancel_and_delete(self, client):
        client.force_login(user_with("start_job"))
        assert client.post(f"{JOBS}/waiting/cancellation").status_code == 202
        assert client.delete(f"{JOBS}/waiting").status_code == 204

    @pytest.mark.parametrize("path", ["/{}", "/{}/snapshot", "/{}/events"])
    def test_can_view_hook_refuses_unknown_and_forbidden_jobs_alike(self, client, settings, path):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"
        queue_job("b.pdf", job_id="somebody-1")
        client.force_login(user_with("start_job"))
        assert client.get(JOBS + path.format("somebody-1")).status_code == 200
        forbidden = client.get(JOBS + path.format("waiting"))
        unknown = client.get(JOBS + path.format("nobody"))
        refusal(forbidden, 403, "forbidden")
        assert (forbidden.status_code, forbidden.content) == (unknown.status_code, unknown.content)
        refusal(client.delete(f"{JOBS}/waiting"), 403, "forbidden")
        refusal(client.get(JOBS), 403, "forbidden")
        assert client.delete(f"{JOBS}/somebody-1").status_code == 204


class TestForgery:
    """Requests that a page of another origin makes a browser send, and requests of programs."""

    @pytest.fixture
    def strict(self):
        queue_job("a.pdf", job_id="waiting")
        return Client(enforce_csrf_checks=True)

    def cancel(self, client, **headers):
        return client.post(f"{JOBS}/waiting/cancellation", headers=headers)

    @pytest.mark.parametrize("is_public", [True, False])
    def test_login_needs_the_csrf_token_on_a_public_site_too(self, strict, settings, is_public):
        settings.INGESTION_PROGRESS_PUBLIC = is_public
        strict.force_login(user_with("start_job"))
        refusal(self.cancel(strict), 403, "csrf_failed")
        refusal(strict.delete(f"{JOBS}/waiting"), 403, "csrf_failed")
        assert Job.objects.get().status == JobStatus.QUEUED

    def test_login_with_the_csrf_token_is_accepted(self, strict, settings):
        settings.INGESTION_PROGRESS_PUBLIC = False
        strict.force_login(user_with("start_job"))
        token = "a" * 32
        strict.cookies["csrftoken"] = token
        assert self.cancel(strict, **{"X-CSRFToken": token}).status_code == 202

    def test_curl_needs_no_token_on_a_public_site(self, strict):
        assert self.cancel(strict).status_code == 202

    @pytest.mark.parametrize(
        "origin",
        [
            "https://evil.example",
            "null",
            "http://testserver.evil.example",
            "https://testserver",
            "",
            "http://testserver:81",
        ],
    )
    def test_page_of_another_origin_is_refused_on_a_public_site(self, strict, origin):
        refusal(self.cancel(strict, Origin=origin), 403, "csrf_failed")
        assert Job.objects.get().status == JobStatus.QUEUED

    def test_own_page_is_accepted_without_a_login(self, strict):
        assert self.cancel(strict, Origin="http://testserver").status_code == 202

    def test_own_page_behind_a_proxy_that_hides_https_is_accepted(self, strict):
        headers = {"Origin": "https://progress.example", "Sec-Fetch-Site": "same-origin"}
        assert self.cancel(strict, **headers).status_code == 202

    @pytest.mark.parametrize("trusted", ["https://app.example", "https://*.example"])
    def test_trusted_origin_is_accepted(self, strict, settings, trusted):
        settings.CSRF_TRUSTED_ORIGINS = [trusted]
        assert self.cancel(strict, Origin="https://app.example").status_code == 202

    def test_page_of_a_trusted_host_without_https_is_refused(self, strict, settings):
        settings.CSRF_TRUSTED_ORIGINS = ["https://app.example"]
        refusal(self.cancel(strict, Origin="http://app.example"), 403, "csrf_failed")

    def test_every_origin_may_read(self, strict):
        headers = {"Origin": "https://evil.example"}
        assert strict.get(JOBS, headers=headers).status_code == 200
