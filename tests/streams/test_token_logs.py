"""Where a token must not turn up: in what real servers write, and in what they answer."""

from __future__ import annotations

import json
import sys
import time
import uuid

import httpx
import pytest

from tests.support.event_streams import progress_url, watch
from tests.support.live import APPLICATION, SERVERS, LiveServer
from tests.support.servers import free_port

pytestmark = pytest.mark.once


def chatty_daphne(project) -> LiveServer:
    """With the access log that the shipped commands turn off."""
    port = free_port()
    arguments = ["-v", "1", "-b", "127.0.0.1", "-p", str(port), APPLICATION]
    process = project.spawn(
        sys.executable, "-m", "ingestion_progress.asgi.servers.daphne", *arguments, PUBLIC="false"
    )
    live = LiveServer(url=f"http://127.0.0.1:{port}", process=process, project=project)
    live.wait_until_ready()
    return live


@pytest.fixture(params=[*SERVERS, "daphne -v 1"])
def server(request, sqlite_project):
    if request.param == "daphne -v 1":
        live = chatty_daphne(sqlite_project)
    else:
        live = sqlite_project.serve(request.param, PUBLIC="false", LOG_LEVEL="DEBUG")
    yield live
    live.process.terminate()
    live.process.wait(30)


def test_tokens_are_in_no_log_and_on_no_error_page(server, request):
    project, job_id = server.project, uuid.uuid4().hex
    written_before = project.log.stat().st_size
    token = project.manage("stream_token", job_id, "--minutes", "1").strip()
    unsigned = token.rpartition(".")[0] + ".x" + uuid.uuid4().hex
    by_header = {"Authorization": f"Bearer {token}"}
    snapshot = progress_url(server.url, job_id).removesuffix("progress") + "snapshot"

    (missing,) = watch(progress_url(server.url, job_id) + f"?token={token}")
    assert missing.data["code"] == "not_found"
    answers = [
        httpx.get(progress_url(server.url, job_id), params={"token": unsigned}),
        httpx.get(progress_url(server.url, job_id + "x"), params={"token": token}),
        httpx.get(snapshot, params={"token": token}),
        httpx.get(snapshot, headers=by_header),
        httpx.get(f"{server.url}/nowhere/", params={"token": token}),
        httpx.get(f"{server.url}/jobs/{job_id}/", params={"token": token}),
        httpx.post(snapshot, params={"token": token}),
    ]
    assert [answer.status_code for answer in answers] == [401, 403, 404, 404, 404, 302, 405]
    time.sleep(0.3)

    written = project.log.read_bytes()[written_before:].decode()
    assert f"/jobs/{job_id}/progress" in written  # it does log requests
    if request.node.callspec.params["server"] in {"uvicorn", "daphne -v 1"}:
        path = progress_url("", job_id)
        assert f"GET {path}" in written  # and so does the server
    for secret in (token, token.split(".")[1], token.split(".")[2], unsigned.split(".")[2]):
        assert secret not in written
        for answer in answers:
            assert secret not in answer.text
            assert secret not in json.dumps(dict(answer.headers))
