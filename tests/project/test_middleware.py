"""What the deployment adds to every response, on a real server."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from tests.support.live import LiveServer

CSS = "/static/admin/css/base.css"
PRODUCTION = {
    "DEBUG": "false",
    "HTTPS": "false",  # no TLS in front of the test
    "ALLOWED_HOSTS": "127.0.0.1",
}


@pytest.fixture(scope="module")
def development(sqlite_project) -> LiveServer:
    return sqlite_project.serve(LOG_FORMAT="json")


@pytest.fixture(scope="module")
def production(sqlite_project) -> LiveServer:
    sqlite_project.manage("collectstatic", "--noinput", **PRODUCTION)
    return sqlite_project.serve(**PRODUCTION)


def test_request_for_a_foreign_host_is_one_line_without_traceback(development):
    before = development.project.log.read_text()
    response = httpx.get(f"{development.url}/nowhere", headers={"Host": "evil.example"})
    assert response.status_code == 400
    (line,) = development.project.log.read_text().removeprefix(before).splitlines()
    assert "evil.example" in line
    assert len(line) < 500


def test_development_serves_static_files_without_collecting_them(development):
    response = httpx.get(f"{development.url}{CSS}")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/css")


def test_missing_static_file_is_not_found(development):
    assert httpx.get(f"{development.url}/static/none.css").status_code == 404


def test_production_serves_collected_files_that_may_be_cached_for_ever(production):
    login = httpx.get(f"{production.url}/admin/login/").text
    hashed = re.search(r'href="(/static/admin/css/base\.\w+\.css)"', login)
    assert hashed
    response = httpx.get(f"{production.url}{hashed[1]}")
    assert response.status_code == 200
    assert "immutable" in response.headers["Cache-Control"]
    assert response.headers["Content-Encoding"] == "gzip"


def test_modules_import_files_that_may_be_cached_for_ever_too(production):
    folder = production.project.folder / "static" / "ingestion_progress"
    manifest = json.loads((folder.parent / "staticfiles.json").read_text())["paths"]
    module = folder.parent / manifest["ingestion_progress/pipeline-progress.js"]
    imported = re.findall(r'from "\./([^"]+)"', module.read_text())
    assert imported
    assert all(re.fullmatch(r"[\w-]+\.[0-9a-f]{12}\.js", name) for name in imported)


def test_every_page_carries_the_strict_policy_and_nothing_that_it_forbids(production):
    login = httpx.get(f"{production.url}/admin/login/")
    assert "default-src 'self';" in login.headers["Content-Security-Policy"]
    assert "unsafe" not in login.headers["Content-Security-Policy"]
    assert login.headers["X-Frame-Options"] == "DENY"
    assert login.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\bstyle=|\bon\w+=", login.text)


def test_timings_are_open_to_the_origins_that_may_read_the_answer(development, production):
    """The stylesheet and the modules are for every origin, as the files of a package are."""
    headers = {"Origin": "https://spa.example.com"}
    public = httpx.get(f"{development.url}/api/v1/admin/ingestion/jobs", headers=headers)
    assert public.headers["Timing-Allow-Origin"] == "*"
    for path in ("/", "/api/v1/admin/ingestion/jobs"):
        closed = httpx.get(production.url + path, headers=headers)
        assert "Timing-Allow-Origin" not in closed.headers


def test_only_the_error_pages_of_a_developer_may_be_inline(development, production):
    assert "Content-Security-Policy" in httpx.get(development.url).headers
    assert "Content-Security-Policy" not in httpx.get(f"{development.url}/nowhere").headers
    assert "Content-Security-Policy" in httpx.get(f"{production.url}/nowhere").headers


@pytest.mark.parametrize("path", ["/admin/login/", "/nowhere", "/api/v1/jobs/nothing"])
def test_requests_are_logged_without_their_query_string(development, path):
    httpx.get(f"{development.url}{path}", params={"token": "a-secret"})
    assert "a-secret" not in development.project.log.read_text()
    records = development.project.records()
    finished = [record for record in records if record["event"] == "request_finished"]
    record = next(record for record in reversed(finished) if record["path"] == path)
    assert record["method"] == "GET"
    assert record["client_ip"] == "127.0.0.1"
    assert len(record["request_id"]) == 32
    assert record["duration_ms"] >= 0


def test_stream_passes_unbuffered_and_its_records_share_the_request_id(development):
    job_id = "no-such-job-with-a-token"
    path = f"/api/v1/admin/ingestion/jobs/{job_id}/progress"
    response = httpx.get(f"{development.url}{path}", params={"token": "a-secret"})
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert "a-secret" not in development.project.log.read_text()
    records = development.project.records()
    streams = [record for record in records if record["event"] == "sse_stream_started"]
    started = next(record for record in streams if record["job_id"] == job_id)
    assert started["client_ip"] == "127.0.0.1"
    completed = next(
        record
        for record in records
        if record["event"] == "sse_stream_completed" and record["job_id"] == job_id
    )
    assert completed["request_id"] == started["request_id"]
    assert not [record for record in records if record.get("path") == path]


def test_request_for_a_stream_that_does_not_begin_is_logged(development):
    path = "/api/v1/admin/ingestion/jobs/any/progress"
    assert httpx.post(f"{development.url}{path}").status_code == 405
    records = development.project.records()
    assert [record["status"] for record in records if record.get("path") == path] == [405]
