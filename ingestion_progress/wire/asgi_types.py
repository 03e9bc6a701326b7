"""Types of the ASGI specification, and an extension of it."""

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
