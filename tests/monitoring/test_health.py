"""`/healthz` and `/readyz`, with databases that are down, silent or not migrated."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncClient

from ingestion_progress.concurrency.worker_thread import SharedCall
from ingestion_progress.feed import get_feed
from ingestion_progress.monitoring import health
from ingestion_progress.monitoring.health import Readiness, get_readiness
from tests.support.live import live_project
from tests.support.servers import start_postgresql

pytestmark = [pytest.mark.once, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _new_process():
    get_feed.cache_clear()
    get_readiness.cache_clear()
    yield
    get_feed.cache_clear()
    get_readiness.cache_clear()


async def answer(path: str) -> tuple[int, dict]:
    response = await AsyncClient().get(path)
    return response.status_code, json.loads(response.content)


def codes(body: dict) -> list[str]:
    return [problem["code"] for problem in body["problems"]]


async def test_process_is_alive_without_a_login_or_a_session(settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    response = await AsyncClient().get("/healthz")

    assert (response.status_code, json.loads(response.content)) == (200, {"status": "alive"})
    assert response["Cache-Control"] == "no-store"
    assert not response.cookies


async def test_process_is_ready_without_a_login_or_a_session(settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    response = await AsyncClient().get("/readyz")

    assert (response.status_code, json.loads(response.content)) == (200, {"status": "ready"})
    assert "Vary" not in response or "Cookie" not in response["Vary"]


@sync_to_async
def rows_of_migrations() -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT app, name, applied FROM django_migrations WHERE app LIKE 'ing%'")
        return cursor.fetchall()


@sync_to_async
def forget_migrations() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app LIKE 'ing%'")


@sync_to_async
def restore(rows: list[tuple]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)", rows
        )


async def test_missing_migration_is_named():
    rows = await rows_of_migrations()
    await forget_migrations()
    try:
        status, body = await answer("/readyz")
    finally:
        await restore(rows)

    assert (status, codes(body)) == (503, ["migrations_missing"])
    assert await answer("/readyz") == (200, {"status": "ready"})


def test_migrations_are_missing_in_either_database(tmp_path):
    main, progress = (f"sqlite:///{tmp_path / name}.sqlite3" for name in ("main", "progress"))
    source = """
        import json
        from django.db import connection
        from ingestion_progress.monitoring.health import Readiness, get_readiness
        before = Readiness().ask()
        connection.cursor().execute("DELETE FROM django_migrations WHERE app = 'sessions'")
        print(json.dumps([before, Readiness().ask()]))
    """
    with live_project(tmp_path, main, PROGRESS_DATABASE_URL=progress) as project:
        assert project.ask(source) == [None, "migrations_missing"]


async def test_database_that_never_answers_is_queried_once_and_reported_in_time(monkeypatch):
    asked, release = [], threading.Event()

    def hang(self) -> str:
        asked.append(1)
        release.wait(60)
        return ""

    monkeypatch.setattr(Readiness, "ask", hang)
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.05)
    get_readiness.cache_clear()
    started = time.monotonic()
    answers = [await answer("/readyz") for _ in range(3)]
    release.set()

    assert [(status, codes(body)) for status, body in answers] == [(503, ["database_silent"])] * 3
    assert time.monotonic() - started < 30
    assert len(asked) == 1


async def test_late_database_error_is_not_reported_by_the_event_loop():
    complaints, release = [], threading.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _, about: complaints.append(about))
    call = SharedCall("shared-call", lambda: release.wait(60) and 1 / 0, timeout_seconds=0.05)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await call.result()
    late = call._pending
    release.set()

    assert isinstance(await asyncio.to_thread(late.exception, 5), ZeroDivisionError)
    await asyncio.sleep(0.05)  # its callbacks hop from its thread into the loop
    gc.collect()
    assert complaints == []


async def test_draining_process_is_not_ready():
    get_feed().drain(lambda: None)
    status, body = await answer("/readyz")

    assert (status, codes(body)) == (503, ["draining"])


def test_probes_need_no_tls(client, settings):
    settings.SECURE_SSL_REDIRECT = True
    from progress_project.settings import SECURE_REDIRECT_EXEMPT

    settings.SECURE_REDIRECT_EXEMPT = SECURE_REDIRECT_EXEMPT
    assert client.get("/healthz").status_code == 200
    assert client.get("/").status_code == 301


def test_stopped_postgresql_is_named_without_internals(tmp_path):
    database = start_postgresql()
    with live_project(tmp_path, database.create_database()) as project:
        live = project.serve("uvicorn")
        assert httpx.get(f"{live.url}/readyz", timeout=60).status_code == 200
        with database.stopped():
            response = httpx.get(f"{live.url}/readyz", timeout=60)
            assert httpx.get(f"{live.url}/healthz", timeout=60).status_code == 200
        assert response.status_code == 503
        assert codes(response.json()) == ["database_unreachable"]
        assert "postgres" not in response.text.lower()
        assert httpx.get(f"{live.url}/readyz", timeout=60).status_code == 200
