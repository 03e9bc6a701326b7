"""Runs the project in this process and counts the modules of the app that one value passes.

Usage: .venv/bin/python scripts/measure_walks.py

A module counts if one of its functions runs in between, in any thread:
  write   from `stage.advance(1)` to the bytes of an open stream
  resume  a request with a `Last-Event-ID` that is current, to its first bytes
  upload  from the request that uploads a document, through its ingestion, to a search that finds it
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
APP = f"{ROOT / 'ingestion_progress'}/"
STREAM = "/api/v1/admin/ingestion/jobs/{}/progress"

passed: set[str] = set()
is_recording = False


def record(frame: FrameType, event: str, arg: object) -> None:
    if is_recording and event == "call" and frame.f_code.co_filename.startswith(APP):
        passed.add(frame.f_code.co_filename)


@contextmanager
def walk(title: str) -> Iterator[None]:
    global is_recording  # noqa: PLW0603
    passed.clear()
    is_recording = True
    yield
    is_recording = False
    files = sorted(name.removeprefix(APP) for name in passed)
    lines = sum(len((Path(APP) / name).read_text().splitlines()) for name in files)
    print(f"{title:8} {len(files)} files, {lines} lines: {' '.join(files)}")


class Client:
    """One request to the ASGI application, and the bodies that come back."""

    def __init__(
        self, path: str, *, method: str = "GET", body: bytes = b"", **headers: str
    ) -> None:
        path, _, query = path.partition("?")
        names = {"host": "localhost", "content-length": str(len(body))} | headers
        self.scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "",
            "query_string": query.encode(), "client": ("127.0.0.1", 1), "server": ("localhost", 80),
            "headers": [(n.replace("_", "-").encode(), v.encode()) for n, v in names.items()],
        }  # fmt: skip
        self._request: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._request.put_nowait({"type": "http.request", "body": body, "more_body": False})
        self._bodies: asyncio.Queue[bytes] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        from progress_project.asgi import application

        self._task = asyncio.ensure_future(application(self.scope, self._request.get, self._send))

    async def body(self) -> bytes:
        async with asyncio.timeout(20):
            return await self._bodies.get()

    async def leave(self) -> None:
        self._request.put_nowait({"type": "http.disconnect"})
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.body" and message.get("body"):
            self._bodies.put_nowait(message["body"])


async def walks() -> None:
    from asgiref.sync import sync_to_async

    from ingestion_progress import track

    job = await sync_to_async(track("a.pdf", stages=["parsing"]).__enter__)()
    stage = await sync_to_async(job.stage("parsing", total=100).__enter__)()
    viewer = Client(STREAM.format(job.job_id))
    viewer.start()
    await viewer.body()
    await asyncio.sleep(1)
    with walk("write"):
        stage.advance(1)
        while b'"processed":1' not in (state := await viewer.body()):
            pass
    await asyncio.sleep(1)
    cursor = state.partition(b"\nid: ")[2].partition(b"\n")[0].decode()
    back = Client(STREAM.format(job.job_id), last_event_id=cursor)
    with walk("resume"):
        back.start()
        await back.body()
    for client in (viewer, back):
        await client.leave()
    await sync_to_async(job.__exit__)(None, None, None)
    await upload()


async def upload() -> None:
    name = b'Content-Disposition: form-data; name="file"; filename="walk.txt"\r\n\r\n'
    body = b"--x\r\n" + name + b"The walrus reads a long novel by the sea.\r\n--x--\r\n"
    sent = Client(
        "/api/v1/admin/ingestion/jobs",
        method="POST",
        body=body,
        content_type="multipart/form-data; boundary=x",
    )
    with walk("upload"):
        sent.start()
        await sent.body()
        ingest()  # in the main thread, where a worker handles signals
        search = Client("/api/v1/search?q=walrus")
        search.start()
        assert b"walrus" in await search.body()


def ingest() -> None:
    from django.core.management import CommandError, call_command

    try:
        call_command("ingestion_worker", "--drain")
    except CommandError:  # its former name
        call_command("ingestion_worker", "--batch")


def main() -> None:
    folder = tempfile.mkdtemp()
    os.environ |= {"VAR_DIR": folder, "ENV_FILE": "/dev/null", "DEBUG": "true"}
    os.environ |= {"DJANGO_ALLOW_ASYNC_UNSAFE": "true", "LOG_LEVEL": "ERROR"}
    os.environ |= {"DJANGO_SETTINGS_MODULE": "progress_project.settings"}
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    threading.setprofile(record)
    sys.setprofile(record)
    asyncio.run(walks())
    sys.setprofile(None)
    gc.unfreeze()


if __name__ == "__main__":
    main()
