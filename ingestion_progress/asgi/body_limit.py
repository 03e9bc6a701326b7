"""Bodies are counted, and refused before they are stored: Django's handler writes the whole of one
to memory or disk before a middleware or a view sees the request, 119 MB for a view that refuses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from django.conf import settings

from ingestion_progress.api.body_length import declared_bytes, length_problem
from ingestion_progress.extensions import UploadRules, upload_rules
from ingestion_progress.wire.asgi_types import (
    Application,
    Message,
    Receive,
    Scope,
    Send,
    may_have_body,
)

if TYPE_CHECKING:
    from ingestion_progress.asgi.preflight import Inquiry

Answer: TypeAlias = list[dict[str, Any]]
"""The messages of ASGI that make a response."""

NO_CONTENT = 204
# A client that is still sending would see a broken connection instead of the answer, so what it
# sends is read and dropped for a while. The times are nginx's for the same purpose.
LINGER_SECONDS = 30.0
SILENCE_SECONDS = 5.0


def other_limit_bytes() -> int:
    """Django's own limit for what is no file; None there is no limit."""
    limit: int | None = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return sys.maxsize if limit is None else limit


class BodyLimit:
    """Wraps Django's application: `BodyLimit(get_asgi_application())`.

    A body that is too long is answered with 413 at once, by the length that it declares or after
    that many bytes. An upload that would go to disk is answered with 401 or 403 before it is read,
    if whoever sends it may not start jobs.

    Installed apps name the limits of their uploads (`extensions.UploadRules`). `elsewhere_bytes` is
    the limit for everything else, by default DATA_UPLOAD_MAX_MEMORY_SIZE; a project with other
    uploads has to raise it.
    """

    def __init__(self, application: Application, *, elsewhere_bytes: int | None = None) -> None:
        self._application = application
        self._elsewhere_bytes = elsewhere_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not may_have_body(scope):
            await self._application(scope, receive, send)
            return
        body = self.body_of(scope, receive)
        if body.is_questionable and (refusal := await self.refusal(scope, body)):
            await _refuse(refusal, body, send)
            return
        await self._application(scope, body.receive, send)
        if body.is_too_long:
            await _refuse(await self._ask(scope, body, "too_large"), body, send)

    def body_of(self, scope: Scope, receive: Receive) -> Body:
        """What the request is about to send, of which nothing is read yet."""
        for rules in upload_rules():
            if (limit_bytes := rules.limit_for(scope)) is not None:
                return Body(scope, receive, limit_bytes, rules)
        return Body(scope, receive, self._limit_elsewhere_bytes())

    async def refusal(self, scope: Scope, body: Body) -> Answer | None:
        """What to answer instead of reading the body; None: it may come."""
        answer = await self._ask(scope, body, body.problem)
        return None if answer[0]["status"] == NO_CONTENT else answer

    async def _ask(self, scope: Scope, body: Body, problem: str) -> Answer:
        return await self._inquiry.ask(
            scope, problem=problem, limit_bytes=body.limit_bytes, rules=body.rules
        )

    def _limit_elsewhere_bytes(self) -> int:
        return other_limit_bytes() if self._elsewhere_bytes is None else self._elsewhere_bytes

    @functools.cached_property
    def _inquiry(self) -> Inquiry:
        from ingestion_progress.asgi.preflight import Inquiry

        return Inquiry()


class Body:
    """What a request sends, counted."""

    def __init__(
        self, scope: Scope, receive: Receive, limit_bytes: int, rules: UploadRules | None = None
    ) -> None:
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"").decode("latin1")
        self.limit_bytes = limit_bytes
        self.rules = rules
        self.problem = length_problem(
            length,
            is_chunked=b"transfer-encoding" in headers,
            limit_bytes=limit_bytes,
            # Django finds nothing in a form that does not say how long it is.
            must_declare=rules is not None,
        )
        """What the headers alone say: a code of the API's errors, or ""."""
        self._length = declared_bytes(length)
        self._receive = receive
        self._waits_for_leave = headers.get(b"expect", b"").lower() == b"100-continue"
        self._received_bytes = 0
        self._has_ended = False
        self.is_http_1 = scope.get("http_version", "1.1").startswith("1")

    @property
    def is_questionable(self) -> bool:
        """Something is wrong with it, or it would go to disk, for whoever may start jobs."""
        in_memory_bytes = settings.FILE_UPLOAD_MAX_MEMORY_SIZE
        is_for_the_disk = self._length is None or self._length > in_memory_bytes
        return bool(self.problem) or (self.rules is not None and is_for_the_disk)

    @property
    def is_too_long(self) -> bool:
        return self._received_bytes > self.limit_bytes

    async def receive(self) -> Message:
        """Counts. To the application, a client that sends too much has left."""
        message = await self._receive()
        self._waits_for_leave = False
        self._has_ended = not message.get("more_body")
        self._received_bytes += len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.is_too_long else message

    async def drop(self) -> None:
        """Reads what still comes, for a while, and keeps nothing of it."""
        if self._waits_for_leave:  # reading would be the leave to send it
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._has_ended:
                    async with asyncio.timeout(SILENCE_SECONDS):
                        await self.receive()


async def _refuse(answer: Answer, body: Body, send: Send) -> None:
    start, *parts = answer
    headers = [(name, value) for name, value in start["headers"] if name.lower() != b"connection"]
    if body.is_http_1:  # elsewhere the header is malformed
        headers.append((b"connection", b"close"))
    await send({**start, "headers": headers})
    content = b"".join(part.get("body", b"") for part in parts)
    # The whole of the answer, but not its end: after that, servers read nothing any more.
    await send({"type": "http.response.body", "body": content, "more_body": True})
    await body.drop()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
