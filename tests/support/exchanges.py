"""A request to an ASGI application, message by message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any


class Exchange:
    """One request, and the messages of its response."""

    def __init__(
        self,
        path: str,
        parts: Sequence[bytes],
        headers: Sequence[tuple[str, str]],
        *,
        method: str = "POST",
        root_path: str = "",
        version: str = "1.1",
    ) -> None:
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": version,
            "method": method,
            "path": root_path + path,
            "root_path": root_path,
            "query_string": b"",
            "client": ["192.0.2.1", 50000],
            "headers": [(b"host", b"testserver")]
            + [(name.encode(), value.encode()) for name, value in headers],
        }
        self._parts = list(parts)
        self.read_bytes = 0
        self.read_before_the_answer: int | None = None
        self.sent: list[Any] = []
        self.has_left = asyncio.Event()

    async def receive(self) -> Any:
        if not self._parts:
            await self.has_left.wait()
            return {"type": "http.disconnect"}
        part = self._parts.pop(0)
        self.read_bytes += len(part)
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}

    async def send(self, message: Any) -> None:
        if not self.sent:
            self.read_before_the_answer = self.read_bytes
        self.sent.append(message)

    async def through(self, application: Any) -> Exchange:
        async with asyncio.timeout(60):
            await application(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode().lower(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def code(self) -> str:
        return json.loads(self.body)["code"]
