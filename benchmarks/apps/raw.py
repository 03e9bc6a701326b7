"""An ASGI application without any framework: the limit on a given server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.apps.frame import frame
from benchmarks.apps.pacing import Hub

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
    ],
}
hub = Hub(frame)


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        return
    await receive()
    await send(START)
    body = hub.join()
    while True:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        body = await hub.next()
