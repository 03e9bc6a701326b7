"""BodyLimit message by message. test_body_limit_servers.py runs it on real servers."""

from __future__ import annotations

import json

import pytest
from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application
from django.db import OperationalError

from ingestion_progress.asgi import BodyLimit, body_limit
from ingestion_progress.auth import quotas
from tests.support.api import JOBS
from tests.support.exchanges import Exchange

MEBIBYTE = 1024 * 1024
LIMIT = 3 * MEBIBYTE
FORM = [("content-type", "multipart/form-data; boundary=b")]
DOCUMENT = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    b"Bees make honey.\r\n--b--\r\n"
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _limits(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    settings.INGESTION_PROGRESS_MAX_UPLOAD_BYTES = LIMIT
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 128 * 1024


@pytest.fixture(scope="module")
def application():
    return BodyLimit(get_asgi_application())


def large(size=LIMIT + MEBIBYTE):
    return [b"x" * MEBIBYTE] * (size // MEBIBYTE)


def length(parts):
    return ("content-length", str(sum(map(len, parts))))


@pytest.mark.parametrize("root_path", ["", "/behind/a/prefix"])
async def test_upload_that_is_too_long_is_refused_before_it_is_read(application, root_path):
    parts = large()
    exchange = Exchange(JOBS, parts, [length(parts), *FORM], root_path=root_path)
    await exchange.through(application)

    assert (exchange.status, exchange.code) == (413, "too_large")
    assert f"{LIMIT} bytes" in exchange.body.decode()
    assert exchange.headers["connection"] == "close"
    assert exchange.read_before_the_answer == 0
    assert exchange.read_bytes == len(b"".join(parts))  # and dropped
    assert exchange.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_refused_client_that_expects_100_continue_sends_nothing(application):
    parts = large()
    headers = [length(parts), ("expect", "100-continue"), *FORM]
    exchange = await Exchange(JOBS, parts, headers).through(application)

    assert exchange.status == 413
    assert exchange.read_bytes == 0


async def test_upload_of_unknown_length_is_refused_before_it_is_read(application):
    headers = [("transfer-encoding", "chunked"), *FORM]
    exchange = await Exchange(JOBS, large(), headers).through(application)

    assert (exchange.status, exchange.code) == (411, "length_required")
    assert exchange.read_before_the_answer == 0


async def test_upload_over_http_2_without_a_length_is_counted(application):
    exchange = await Exchange(JOBS, large(), FORM, version="2").through(application)

    assert (exchange.status, exchange.code) == (413, "too_large")
    assert exchange.read_before_the_answer == LIMIT + MEBIBYTE
    assert "connection" not in exchange.headers


async def test_document_within_the_limit_reaches_the_view(application):
    parts = [DOCUMENT.replace(b"honey.", b"honey. " * 20_000)]
    exchange = await Exchange(JOBS, parts, [length(parts), *FORM]).through(application)

    assert exchange.status == 201, exchange.body
    assert json.loads(exchange.body)["status"] == "queued"


class TestBeyondTheQuota:
    @pytest.fixture(autouse=True)
    def _used_up(self, settings):
        settings.INGESTION_PROGRESS_UPLOADS_PER_HOUR_PER_ADDRESS = 1

    @pytest.mark.parametrize(("path", "kind"), [(JOBS, "json"), ("/", "html")])
    async def test_large_upload_is_refused_before_it_is_read(self, application, path, kind):
        parts = [DOCUMENT.replace(b"honey.", b"honey. " * 20_000)]
        first = await Exchange(JOBS, parts, [length(parts), *FORM]).through(application)
        assert first.status == 201  # counted once, although it was checked before

        exchange = await Exchange(path, parts, [length(parts), *FORM]).through(application)
        assert exchange.status == 429
        assert exchange.read_before_the_answer == 0
        assert 0 < int(exchange.headers["retry-after"]) <= 3600
        assert kind in exchange.headers["content-type"]
        assert "Too many uploads: the limit is 1 per hour." in exchange.body.decode()

    async def test_database_that_is_down_is_503(self, application, monkeypatch):
        def fail(*args):
            raise OperationalError

        monkeypatch.setattr(quotas, "check", fail)
        parts = large(2 * MEBIBYTE)
        exchange = await Exchange(JOBS, parts, [length(parts), *FORM]).through(application)
        assert (exchange.status, exchange.code) == (503, "unavailable")
        assert exchange.read_before_the_answer == 0


class TestOnASiteThatIsNotPublic:
    @pytest.fixture(autouse=True)
    def _closed(self, settings):
        settings.INGESTION_PROGRESS_PUBLIC = False

    @staticmethod
    def session_of(client, user):
        client.force_login(user)
        return ("cookie", "; ".join(f"{key}={m.value}" for key, m in client.cookies.items()))

    async def test_anonymous_upload_is_refused_before_it_is_read(self, application):
        parts = large(2 * MEBIBYTE)
        exchange = await Exchange(JOBS, parts, [length(parts), *FORM]).through(application)

        assert (exchange.status, exchange.code) == (401, "unauthorized")
        assert exchange.read_before_the_answer == 0

    @pytest.mark.parametrize("path", [JOBS, "/"])
    async def test_upload_without_permission_is_refused_before_it_is_read(
        self, application, client, path, django_user_model
    ):
        user = await django_user_model.objects.acreate_user("ada")
        session = await sync_to_async(self.session_of)(client, user)
        parts = large(2 * MEBIBYTE)
        exchange = await Exchange(path, parts, [length(parts), session, *FORM]).through(application)

        assert exchange.status == 403
        assert exchange.headers["content-type"].startswith(
            "text/html" if path == "/" else "application/json"
        )
        assert exchange.read_before_the_answer == 0

    async def test_csrf_token_in_the_body_is_accepted(self, application, client, django_user_model):
        user = await django_user_model.objects.acreate_superuser("ada")
        session = await sync_to_async(self.session_of)(client, user)
        token = "a" * 32
        field = b'--b\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n'
        parts = [
            field + token.encode() + b"\r\n",
            DOCUMENT.replace(b"honey.", b"honey. " * 20_000),
        ]
        cookie = ("cookie", f"{session[1]}; csrftoken={token}")
        exchange = await Exchange(JOBS, parts, [length(parts), cookie, *FORM]).through(application)

        assert exchange.status == 201, exchange.body

    async def test_anonymous_form_redirects_to_the_login(self, application):
        parts = large(2 * MEBIBYTE)
        exchange = await Exchange("/", parts, [length(parts), *FORM]).through(application)

        assert (exchange.status, exchange.headers["location"]) == (302, "/login/?next=/")
        assert exchange.read_before_the_answer == 0


async def test_form_that_is_too_long_redirects_to_the_page_with_a_message(application):
    parts = large()
    exchange = await Exchange("/", parts, [length(parts), *FORM]).through(application)

    assert (exchange.status, exchange.headers["location"]) == (302, "/")
    assert exchange.read_before_the_answer == 0
    cookie = ("cookie", exchange.headers["set-cookie"].partition(";")[0])
    page = await Exchange("/", [b""], [cookie], method="GET").through(application)
    assert "The upload is larger than 3.0\xa0MB" in page.body.decode()


@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("GET", "/", "text/plain; charset=utf-8"),
        ("POST", "/login/", "text/plain; charset=utf-8"),
        ("POST", "/no/such/page", "text/plain; charset=utf-8"),
        ("GET", f"{JOBS}/x/progress", "text/plain; charset=utf-8"),
        ("POST", f"{JOBS}/x/cancellation", "application/json"),
        ("PUT", JOBS, "application/json"),
    ],
)
@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "chunked"])
async def test_every_path_has_a_limit(application, method, path, content_type, is_declared):
    parts = [b"x" * 70 * 1024] * 3
    header = length(parts) if is_declared else ("transfer-encoding", "chunked")
    exchange = await Exchange(path, parts, [header], method=method).through(application)

    assert exchange.status == 413
    assert exchange.headers["content-type"] == content_type
    assert b"131072 bytes" in exchange.body or b'"limit_bytes": ' in exchange.body
    assert exchange.read_before_the_answer == (0 if is_declared else 140 * 1024)


@pytest.mark.parametrize("is_declared", [True, False], ids=["declared", "chunked"])
@pytest.mark.parametrize(("excess_bytes", "status"), [(0, 404), (1, 413)])
async def test_body_of_exactly_the_limit_is_allowed(application, is_declared, excess_bytes, status):
    parts = [b"x" * 64 * 1024, b"x" * (64 * 1024 + excess_bytes)]
    header = length(parts) if is_declared else ("transfer-encoding", "chunked")
    exchange = await Exchange("/no/such/page", parts, [header]).through(application)

    assert exchange.status == status


async def test_project_with_other_uploads_sets_its_own_limit():
    application = BodyLimit(get_asgi_application(), elsewhere_bytes=MEBIBYTE)
    parts = [b"x" * 200 * 1024]
    within = await Exchange("/no/such/page", parts, [length(parts)]).through(application)
    parts = [b"x" * MEBIBYTE, b"x"]
    beyond = await Exchange("/no/such/page", parts, [length(parts)]).through(application)

    assert (within.status, beyond.status) == (404, 413)


async def test_refused_client_that_stops_sending_is_disconnected(application, monkeypatch):
    monkeypatch.setattr(body_limit, "SILENCE_SECONDS", 0.02)
    exchange = Exchange(JOBS, [], [("content-length", str(10 * LIMIT)), *FORM])
    await exchange.through(application)

    assert exchange.status == 413
    assert exchange.sent[-1]["more_body"] is False


async def test_request_without_a_body_is_passed_on_unchanged():
    seen = []

    async def application(scope, receive, send):
        seen.append(receive)

    exchange = Exchange("/", [], [("content-length", "0")], method="GET")
    await BodyLimit(application)(exchange.scope, exchange.receive, exchange.send)

    assert seen == [exchange.receive]
