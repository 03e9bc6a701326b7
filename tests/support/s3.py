"""A small S3 for tests: objects in memory, addressed by path, without checks of signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

BUCKET = "uploads"


class S3:
    def __init__(self, server: HTTPServer) -> None:
        self.objects: dict[str, bytes] = {}
        self.reads: list[str] = []
        self.url = server.url_for("").rstrip("/")
        self.is_failing = False
        self.before_read: Callable[[], None] = lambda: None

    def answer(self, request: Request) -> Response:
        if self.is_failing:
            return Response(status=503)
        key = request.path.removeprefix(f"/{BUCKET}/")
        if request.method == "PUT":
            self.objects[key] = _unchunked(request)
            return Response(headers={"ETag": '"1"'})
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return Response(status=204)
        if key not in self.objects:
            return Response("<Error><Code>NoSuchKey</Code></Error>", status=404)
        if request.method == "GET":
            self.reads.append(key)
            self.before_read()
        headers = {"ETag": '"1"', "Last-Modified": "Fri, 27 Nov 2026 00:00:00 GMT"}
        return Response(self.objects[key], headers=headers)


def _unchunked(request: Request) -> bytes:
    """The body of an upload, which boto3 sends in chunks with a checksum behind them."""
    body = request.get_data()
    if "aws-chunked" not in request.headers.get("Content-Encoding", ""):
        return body
    data = b""
    while body:
        head, _, body = body.partition(b"\r\n")
        size = int(head.partition(b";")[0], 16)
        if not size:
            break
        data, body = data + body[:size], body[size + 2 :]
    return data


@contextmanager
def s3_server() -> Iterator[S3]:
    with HTTPServer() as server:
        s3 = S3(server)
        server.dispatch = s3.answer  # type: ignore[method-assign]
        yield s3
