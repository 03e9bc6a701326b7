"""The API on real servers, with an ingestion worker and httpx."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from httpx_sse import connect_sse

from tests.support.api import JOBS
from tests.support.live import SERVERS, LiveServer

pytestmark = pytest.mark.once

MEBIBYTE = 1024 * 1024
TEXT = """# Early programmers

Grace Hopper wrote the first compiler for a computer, the A-0 System, in 1952.
Ada Lovelace wrote the first published program, for the Analytical Engine of Charles Babbage.

## A word that stands nowhere else

The quokka is a small marsupial of Rottnest Island.
"""


@pytest.fixture(scope="module")
def server(own_project):
    return own_project.serve("daphne")


@pytest.fixture(scope="module")
def _worker(own_project):
    return own_project.spawn(sys.executable, "manage.py", "ingestion_worker")


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def follow(http, link):
    """The events of a stream, up to its last."""
    with connect_sse(http, "GET", link) as source:
        for event in source.iter_sse():
            if event.data:  # a lone `retry:` is no event; browsers do not dispatch it either
                yield event.event, json.loads(event.data)


def peak_memory_bytes(server):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@pytest.mark.usefixtures("_worker")
def test_uploaded_document_is_followed_to_its_end_and_found_by_search(http):
    name = "../Ünïcode \u202e programmers 😀.md"
    created = http.post(JOBS, files={"file": (name, TEXT)}, data={"document_id": "pioneers"})
    assert created.status_code == 201, created.text
    links = created.json()["links"]
    assert http.get(created.headers["Location"]).json()["document_id"] == "pioneers"

    events = list(follow(http, links["progress"]))
    assert events[-1] == ("complete", {}), events[-1]
    states = [data for event, data in events if event == "pipeline_progress"]
    percents = [state["overall_progress_percent"] for state in states]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert http.get(links["snapshot"]).json() == states[-1]
    assert states[-1]["metrics"]["qdrant_writes"] > 0

    (hit, *_) = http.get("/api/v1/search", params={"q": "quokka marsupial"}).json()["items"]
    assert hit["document_id"] == "pioneers"
    assert "Rottnest" in hit["text"]
    assert hit["document_name"].endswith("programmers 😀.md")
    assert not {"/", "\u202e"} & set(hit["document_name"])

    assert http.post(links["cancellation"]).json()["code"] == "job_finished"
    assert http.delete(links["job"]).status_code == 204
    assert http.get(links["job"]).json()["code"] == "not_found"


def document_of(size_bytes):
    """A multipart body with one document, in chunks."""
    yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    for _ in range(size_bytes // MEBIBYTE):
        yield b"x" * MEBIBYTE
    yield b"\r\n--b--\r\n"


def upload(http, body, **headers):
    return http.post(
        JOBS, content=body, headers={"Content-Type": "multipart/form-data; boundary=b"} | headers
    )


@pytest.mark.parametrize("name", ["uvicorn", "daphne"])
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the memory of a process in /proc")
def test_upload_of_200_mb_is_refused_without_keeping_it_in_memory(own_project, name):
    server = own_project.serve(name)
    size = 200 * MEBIBYTE
    length = sum(map(len, document_of(0))) + size
    with httpx.Client(base_url=server.url, timeout=60) as http:
        http.get(JOBS)
        before = peak_memory_bytes(server)
        response = upload(http, document_of(size), **{"Content-Length": str(length)})
    assert response.status_code == 413, response.text
    assert response.json()["code"] == "too_large"
    assert "50 MB (52428800 bytes)" in response.json()["message"]
    assert peak_memory_bytes(server) - before < 40 * MEBIBYTE


@pytest.mark.parametrize("name", SERVERS)
def test_upload_stored_on_disk_is_complete(own_project, name):
    live = own_project.serve(name)
    file_name, content = f"{uuid4().hex}.txt", os.urandom(2 * MEBIBYTE).hex().encode()
    response = httpx.post(live.url + JOBS, files={"file": (file_name, content)}, timeout=60)
    assert response.status_code == 201, response.text
    media = own_project.folder / "media"
    stored = [file for file in media.rglob("*") if file.is_file() and file.read_bytes() == content]
    assert len(stored) == 1
    # Its worker need not ingest it.
    assert httpx.post(live.url + response.json()["links"]["cancellation"], timeout=60).is_success


@pytest.mark.parametrize("name", SERVERS)
def test_upload_of_unknown_length_is_411(own_project, server, name):
    live = server if name == "daphne" else own_project.serve(name)
    with httpx.Client(base_url=live.url, timeout=60) as http:
        response = upload(http, document_of(0))  # sent in chunks
    assert (response.status_code, response.json()["code"]) == (411, "length_required")


def test_head_is_get_without_a_body(http):
    head, get = http.head(JOBS), http.get(JOBS)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize(
    "job_id", ["a%00b", "%ED%A0%80", "%FF", "..%2F..%2Fetc", "%0d%0aX-Evil:%201"]
)
def test_hostile_id_is_not_found_on_a_real_server(http, job_id):
    for tail in ("", "/snapshot", "/events"):
        response = http.get(f"{JOBS}/{job_id}{tail}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
        assert "X-Evil" not in response.headers


def test_only_one_of_many_uploads_gets_an_id(project):
    live = project.serve("uvicorn")
    job_id = f"one-{uuid4().hex}"

    def upload_one(number):
        # The same document too: each would replace what another has just stored.
        return httpx.post(
            live.url + JOBS,
            files={"file": ("race.txt", f"Upload number {number}.")},
            data={"job_id": job_id, "document_id": "race"},
            timeout=60,
        )

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(upload_one, range(8)))
    assert sorted(response.status_code for response in responses) == [201] + [409] * 7
    assert {r.json()["code"] for r in responses if r.is_error} == {"job_exists"}
