"""Limits the bodies of requests before Django stores them.

Django's handler writes a whole body to memory or disk before any middleware or view sees the
request: 119 MB for a view that refuses it.
"""

import asyncio
import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from django.conf import settings

from ingestion_progress.api.body_length import declared_bytes, length_error, may_have_body
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.extensions import UploadRules, upload_rules
from ingestion_progress.wire.asgi_types import Application, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from ingestion_progress.asgi.preflight import PreflightCheck

Response: TypeAlias = list[dict[str, Any]]
"""The ASGI messages of a response."""

NO_CONTENT = 204
# A client that is still sending would see a broken connection instead of the response, so the rest
# of its body is read and discarded for a while. Both times are nginx's (lingering_time, _timeout).
LINGER_SECONDS = 30.0
SILENCE_SECONDS = 5.0


class BodyLimit:
    """Wraps Django's application: `BodyLimit(get_asgi_application())`.

    Answers a body that is too long with 413: at once if its length is declared, else after that
    many bytes. Answers an upload that would be stored on disk with 401 or 403, before it is read,
    if its sender may not upload.

    Installed apps set the limits of their uploads (`extensions.UploadRules`). `elsewhere_bytes` is
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
        declared = self.declared_body(scope)
        body = BodyReader(receive, declared)
        if declared.needs_check and (response := await self.refusal(scope, declared)):
            await _refuse(response, body, send)
            return
        await self._application(scope, body.receive, send)
        if body.is_too_long:
            await _refuse(await self._check(scope, declared, ErrorCode.TOO_LARGE), body, send)

    def declared_body(self, scope: Scope) -> "DeclaredBody":
        for rules in upload_rules():
            if (limit_bytes := rules.limit_for(scope)) is not None:
                return DeclaredBody(scope, limit_bytes, rules)
        limits = (self._elsewhere_bytes, settings.DATA_UPLOAD_MAX_MEMORY_SIZE, sys.maxsize)
        return DeclaredBody(scope, next(limit for limit in limits if limit is not None))

    async def refusal(self, scope: Scope, declared: "DeclaredBody") -> Response | None:
        """The response instead of reading the body; None if the body is permitted."""
        response = await self._check(scope, declared, declared.error)
        return None if response[0]["status"] == NO_CONTENT else response

    async def _check(
        self, scope: Scope, declared: "DeclaredBody", error: ErrorCode | None
    ) -> Response:
        return await self._preflight_check.run(
            scope, error=error, limit_bytes=declared.limit_bytes, rules=declared.rules
        )

    @functools.cached_property
    def _preflight_check(self) -> "PreflightCheck":
        from ingestion_progress.asgi.preflight import PreflightCheck  # needs Django's apps

        return PreflightCheck()


class DeclaredBody:
    """What the headers of a request declare about its body."""

    def __init__(self, scope: Scope, limit_bytes: int, rules: UploadRules | None = None) -> None:
        headers = dict(scope["headers"])
        content_length = headers.get(b"content-length", b"").decode("latin1")
        self.limit_bytes = limit_bytes
        self.rules = rules
        """The rules of the app that takes the upload; None for any other request."""
        self.length = declared_bytes(content_length)
        self.error = length_error(
            content_length,
            is_chunked=b"transfer-encoding" in headers,
            limit_bytes=limit_bytes,
            # Django parses no form without a length.
            must_declare=rules is not None,
        )
        self.expects_continue = headers.get(b"expect", b"").lower() == b"100-continue"
        self.is_http_1 = scope.get("http_version", "1.1").startswith("1")

    @property
    def needs_check(self) -> bool:
        """Is its length wrong, or is it an upload that Django would store on disk?"""
        in_memory_bytes = settings.FILE_UPLOAD_MAX_MEMORY_SIZE
        is_for_disk = self.length is None or self.length > in_memory_bytes
        return self.error is not None or (self.rules is not None and is_for_disk)


class BodyReader:
    def __init__(self, receive: Receive, declared: "DeclaredBody") -> None:
        self.declared = declared
        self._receive = receive
        self._received_bytes = 0
        self._has_begun = False
        self._has_ended = False

    @property
    def is_too_long(self) -> bool:
        return self._received_bytes > self.declared.limit_bytes

    async def receive(self) -> Message:
        """ASGI's `receive` for the application; a body that is too long becomes a disconnect."""
        message = await self._receive()
        self._has_begun = True
        self._has_ended = not message.get("more_body")
        self._received_bytes += len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.is_too_long else message

    async def discard(self) -> None:
        """Reads the rest of the body for a while, and keeps nothing."""
        if self.declared.expects_continue and not self._has_begun:
            return  # reading would make the server ask for the body
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._has_ended:
                    async with asyncio.timeout(SILENCE_SECONDS):
                        await self.receive()


async def _refuse(response: Response, body: BodyReader, send: Send) -> None:
    start, *messages = response
    headers = [(name, value) for name, value in start["headers"] if name.lower() != b"connection"]
    if body.declared.is_http_1:  # HTTP/2 forbids the header
        headers.append((b"connection", b"close"))
    await send({**start, "headers": headers})
    content = b"".join(message.get("body", b"") for message in messages)
    # The whole content, but not the end of the response, after which servers stop reading.
    await send({"type": "http.response.body", "body": content, "more_body": True})
    await body.discard()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
