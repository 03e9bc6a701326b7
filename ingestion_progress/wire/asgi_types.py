"""Types of the ASGI specification, and an extension of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

Scope: TypeAlias = dict[str, Any]
Message: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

WRITE = "ingestion_progress.write"
"""The key of an ASGI extension in a scope's `extensions`: a function that writes bytes into a body
that has begun, faster than `send` if many responses share the bytes.
"""
Write: TypeAlias = Callable[[bytes], bool]
"""False: nothing was written, because the client must be waited for; use `send`."""


def may_have_body(scope: Scope) -> bool:
    """Do the headers announce a body, or not rule one out?"""
    if not scope.get("http_version", "1.1").startswith("1"):
        return True  # HTTP/2 frames bodies without a header that announces them
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0")
        for name, value in scope["headers"]
    )
