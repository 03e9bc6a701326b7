"""Errors have one shape, in every project that includes the API."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.db import OperationalError
from django.test import Client

from ingestion_progress.exceptions import ErrorCode
from tests.support.api import JOBS, refusal
from tests.support.live import ROOT

pytestmark = pytest.mark.django_db


class TestErrorResponses:
    @pytest.mark.parametrize(
        "path", ["", "nothing", "admin/ingestion/jobs/", "admin/ingestion/jobs/a/b"]
    )
    def test_unknown_path_is_a_json_404(self, client, path):
        for method in (client.get, client.post):
            refusal(method(f"/api/v1/{path}"), 404, "not_found")

    @pytest.mark.parametrize("method", ["put", "patch", "options", "trace"])
    def test_wrong_method_is_405_with_the_allowed_ones(self, client, method):
        response = getattr(client, method)(f"{JOBS}/a")
        refusal(response, 405, "method_not_allowed")
        assert {word.strip() for word in response["Allow"].split(",")} >= {"GET", "DELETE"}

    def test_server_error_hides_internals_and_is_logged(self, settings, caplog):
        # Nothing is mocked: a database alias that does not exist breaks the first query.
        settings.DATABASE_ROUTERS = ["tests.api.test_errors.BrokenRouter"]
        response = Client(raise_request_exception=False).get(JOBS)
        error = refusal(response, 500, "server_error")
        assert "secret" not in response.content.decode()
        assert error.message == ErrorCode.SERVER_ERROR.message
        assert "secret alias" in caplog.text

    def test_unreachable_database_is_503(self, settings):
        settings.DATABASE_ROUTERS = ["tests.api.test_errors.UnreachableRouter"]
        refusal(Client(raise_request_exception=False).get(JOBS), 503, "unavailable")


class BrokenRouter:
    def db_for_read(self, model, **hints):
        raise RuntimeError("secret alias")


class UnreachableRouter:
    def db_for_read(self, model, **hints):
        raise OperationalError("secret host")


class TestOtherProjects:
    def test_login_required_middleware_does_not_apply(self, client, settings):
        settings.MIDDLEWARE = [
            *settings.MIDDLEWARE,
            "django.contrib.auth.middleware.LoginRequiredMiddleware",
        ]
        assert client.get(JOBS).status_code == 200
        assert client.get("/api/v1/docs").status_code == 200
        refusal(client.get("/api/v1/nothing"), 404, "not_found")

    def test_project_without_users_is_closed_or_public(self, client, settings):
        settings.MIDDLEWARE = [
            name
            for name in settings.MIDDLEWARE
            if not name.endswith(("AuthenticationMiddleware", "MessageMiddleware"))
        ]
        assert client.get(JOBS).status_code == 200
        settings.INGESTION_PROGRESS_PUBLIC = False
        refusal(client.get(JOBS), 401, "unauthorized")

    def test_upload_and_search_need_the_pipeline_app(self):
        source = """
from django.conf import settings
settings.INSTALLED_APPS.remove("ingestion_progress.pipeline")
import django
django.setup()
import sys
from django.test import Client
settings.ALLOWED_HOSTS = ["testserver"]
document = Client().get("/api/v1/openapi.json").json()
assert "post" not in document["paths"]["/api/v1/admin/ingestion/jobs"]
assert not any("search" in path for path in document["paths"])
assert "Search" not in [tag["name"] for tag in document["tags"]]
assert Client().get("/api/v1/search?q=a").json()["code"] == "not_found"
assert Client().post("/api/v1/admin/ingestion/jobs").json()["code"] == "method_not_allowed"
assert "ingestion_progress.pipeline.uploads.receive" not in sys.modules
"""
        subprocess.run([sys.executable, "-c", source], cwd=ROOT, check=True)
