"""Streams that end because of who watches, and streams that are too many, on real servers."""

from __future__ import annotations

import time
import uuid

import httpx
import jwt
import pytest

from tests.support.event_streams import events, open_stream, progress_url

pytestmark = pytest.mark.once

LOG_IN = """
    import json, sys
    from django.contrib.auth.models import Permission, User
    from django.test import Client
    user = User.objects.create_user(sys.argv[1])
    user.user_permissions.set(Permission.objects.filter(codename="view_job"))
    client = Client()
    client.force_login(user)
    print(json.dumps(client.cookies["sessionid"].value))
"""
DISABLE = """
    import sys
    from django.contrib.auth.models import User
    User.objects.filter(username=sys.argv[1]).update(is_active=False)
"""
REMOVE_PERMISSION = """
    import sys
    from django.contrib.auth.models import User
    User.objects.get(username=sys.argv[1]).user_permissions.clear()
"""
CLOSED = {
    "PUBLIC": "false",
    "RECHECK_SECONDS": "1",
    "MAX_STREAMS_PER_USER": "2",
    "KEEPALIVE_SECONDS": "1",
}


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(request, sqlite_project):
    live = sqlite_project.serve(request.param, **CLOSED)
    yield live
    live.process.terminate()
    live.process.wait(30)


@pytest.fixture
def url(server):
    """The stream of a job that waits."""
    job_id = uuid.uuid4().hex
    server.project.queue_job(job_id)
    return progress_url(server.url, job_id)


@pytest.fixture
def viewer(server):
    """A name, and the header of that user's session."""
    name = uuid.uuid4().hex
    return name, {"Cookie": f"sessionid={server.project.ask(LOG_IN, name)}"}


def job_id_in(url: str) -> str:
    return url.split("/")[-2]


def test_stream_ends_when_its_token_expires(server, url):
    token = server.project.manage("stream_token", job_id_in(url), "--minutes", "0.08").strip()
    with open_stream(f"{url}?token={token}") as response:
        seen = list(events(response))
        ended_at = time.time()

    assert [event.name for event in seen] == ["pipeline_progress", "forecast", "job_state", "error"]
    assert seen[-1].data == {
        "message": "The token has expired; get a new one.",
        "job_id": job_id_in(url),
        "code": "token_expired",
    }
    expired_at = jwt.decode(token, options={"verify_signature": False})["exp"]
    assert 0 <= ended_at - expired_at < 2
    again = httpx.get(url, params={"token": token})
    assert (again.status_code, again.json()["code"]) == (401, "token_expired")


@pytest.mark.parametrize(
    "change", [DISABLE, REMOVE_PERMISSION], ids=["disabled", "permission removed"]
)
def test_stream_ends_when_the_permission_is_withdrawn(server, url, viewer, change):
    name, session = viewer
    with open_stream(url, **session) as response:
        seen = events(response)
        assert next(seen).name == "pipeline_progress"
        assert next(seen).name == "forecast"
        assert next(seen).name == "job_state"
        server.project.ask(change, name)
        last = next(seen)

        assert (last.name, last.data["code"]) == ("error", "forbidden")
        assert next(seen, None) is None
    assert httpx.get(url, headers=session).status_code in {401, 403}


def test_one_stream_too_many_gets_an_error_and_a_long_retry(server, url, viewer):
    session = viewer[1]
    with open_stream(url, **session), open_stream(url, **session):
        refused = httpx.get(url, headers=session, timeout=20)
        assert refused.status_code == 200
        assert refused.headers["Content-Type"].startswith("text/event-stream")
        retry, rest = refused.text.split("\n", 1)
        assert 45_000 <= int(retry.removeprefix("retry: ")) <= 75_000
        assert rest.startswith("event: error\n")
        assert '"code":"too_many_streams"' in rest

    deadline = time.monotonic() + 10  # those who leave make room
    is_let_in = False
    while not is_let_in and time.monotonic() < deadline:
        with open_stream(url, **session) as response:
            is_let_in = next(events(response)).name == "pipeline_progress"
    assert is_let_in, "the places of those who left are still taken"
