"""uvicorn: writes shared bytes directly to a connection, without the cycle of its request."""

import functools
from typing import Any


def is_waiting_for_headers(protocol: Any) -> bool:
    """Is no request in progress, from the end of its headers to the end of its response?"""
    return protocol.cycle is None or protocol.cycle.response_complete


def is_open_http(protocol: Any) -> bool:
    """Is the connection open, and not upgraded to a WebSocket?"""
    return protocol in protocol.connections


def write_chunk(protocol: Any, body: bytes) -> bool:
    """Writes a part of a chunked body at once. Returns False, with nothing written, if `send` has
    to be used. Many responses share the bytes, so the chunk is encoded once.
    """
    cycle = protocol.cycle  # of the next request, if the client has already sent one
    if protocol.flow.write_paused or cycle.disconnected or not (body and cycle.chunked_encoding):
        return False
    protocol.transport.write(_chunk(body))
    return True


@functools.lru_cache(maxsize=8)
def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


class CloseDelimitedSend:
    """The `send` of a response to HTTP/1.0, which has no chunks: the end of the connection ends a
    body of unknown length.
    """

    def __init__(self, cycle: Any) -> None:
        self._cycle = cycle
        self._send = cycle.send
        self._has_length = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            self._has_length = b"content-length" in names
            if not self._has_length:
                self._cycle.chunked_encoding = False
        elif not self._has_length:  # uvicorn compares the body with the expected length
            self._cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)


def use_close_delimited_body(protocol: Any) -> None:
    """Applies to the request whose headers were just received, if it is of HTTP/1.0."""
    if protocol.scope["http_version"] == "1.0" and protocol.cycle is not None:
        protocol.cycle.send = CloseDelimitedSend(protocol.cycle)
