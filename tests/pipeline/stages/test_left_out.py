"""A project without the reference ingestion, which is then neither imported nor offered."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.live import ROOT

PROJECT = """
import sys
from types import ModuleType
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["testserver"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": sys.argv[1],
            "OPTIONS": {"transaction_mode": "IMMEDIATE"},
        }
    },
    INGESTION_PROGRESS_PUBLIC=True,
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
        "ingestion_progress",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    ROOT_URLCONF="urls",
    SECRET_KEY="x" * 50,
    STATIC_URL="static/",
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    USE_TZ=True,
)

from ingestion_progress.asgi import BodyLimit, EventStreams
from django.core.asgi import get_asgi_application

application = BodyLimit(EventStreams(get_asgi_application()))

from django.contrib import admin
from django.core.management import call_command
from django.test import Client
from django.urls import include, path

urls = ModuleType("urls")
urls.urlpatterns = [path("admin/", admin.site.urls), path("", include("ingestion_progress.urls"))]
sys.modules["urls"] = urls

call_command("check")
call_command("migrate", verbosity=0)
from ingestion_progress import track

with track("report.pdf", job_id="job-1", stages=["parsing"]) as job:
    with job.stage("parsing", total=1) as stage:
        stage.advance(1)
client = Client()
JOBS = "/api/v1/admin/ingestion/jobs"
"""
NOTHING_IMPORTED = """
found = [name for name in sys.modules if name.startswith("ingestion_progress.pipeline")]
assert not found, found
print("as claimed")
"""


@pytest.fixture
def run(tmp_path):
    """Runs Python in the project, then checks which modules were imported."""

    def run(source: str) -> None:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROJECT + source + NOTHING_IMPORTED,
             str(tmp_path / "db.sqlite3")],
            cwd=ROOT,
            env={name: os.environ[name] for name in os.environ if name.startswith(("PATH", "COV"))},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        assert done.stdout.endswith("as claimed\n"), done.stderr

    return run


def test_pages_show_jobs_and_no_upload(run):
    run("""
page = client.get("/")
html = page.content.decode()
assert page.status_code == 200, html
assert "report.pdf" in html, html
assert "upload" not in html.lower() and 'type="file"' not in html, html
job_page = client.get("/jobs/job-1/").content.decode()
assert "Stages" in job_page and ">Result<" not in job_page, job_page
assert client.get("/jobs/job-1/result/").status_code == 404
assert client.get("/search/").status_code == 404 and "/search/" not in job_page
assert client.post("/").status_code == 405
from ingestion_progress.models import Job
Job.objects.all().delete()
assert "They appear here as soon as an ingestion starts." in client.get("/").content.decode()
""")


def test_api_has_jobs_and_neither_upload_nor_search(run):
    run("""
assert [job["job_id"] for job in client.get(JOBS).json()["items"]] == ["job-1"]
assert client.get(JOBS + "/job-1/snapshot").json()["overall_progress_percent"] == 100
refused = client.post(JOBS)
assert (refused.status_code, refused.json()["code"]) == (405, "method_not_allowed")
assert refused["Allow"] == "GET"
assert client.get("/api/v1/search?q=a").json()["code"] == "not_found"
document = client.get("/api/v1/openapi.json").json()
assert list(document["paths"][JOBS]) == ["get"]
assert "Search" not in [tag["name"] for tag in document["tags"]]
""")


def test_asgi_application_streams_and_limits_every_body_to_that_of_django(run):
    run("""
import asyncio
from tests.support.exchanges import Exchange

def exchange(path, size, method):
    headers = [("content-length", str(size))] if size else []
    return Exchange(path, [b"x" * size], headers, method=method)

async def statuses():
    asked = [
        exchange("/", 3_000_000, "POST"),
        exchange(JOBS, 3_000_000, "POST"),
        exchange(JOBS, 1_000, "POST"),
        exchange("/", 0, "GET"),
        exchange(JOBS + "/job-1/progress", 0, "GET"),
    ]
    return [(await each.through(application)).status for each in asked], asked

answered, asked = asyncio.run(statuses())
assert answered == [413, 413, 405, 200, 200], answered
assert b"2621440 bytes" in asked[0].body and asked[1].code == "too_large"
assert b"event: complete" in asked[-1].body
""")
