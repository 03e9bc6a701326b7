"""Bytes that many streams share, written to a connection without uvicorn's `send`."""

from __future__ import annotations

import asyncio

import uvicorn
from uvicorn.server import ServerState

from ingestion_progress.asgi.servers.uvicorn import Protocol
from ingestion_progress.wire.asgi_types import WRITE

BODY = bytes(100_000)
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def read_response(reader: asyncio.StreamReader) -> bytes:
    received = b""
    while not received.endswith(b"0\r\n\r\n"):
        received += await reader.read(1_000_000)
    return received


async def test_client_that_does_not_read_gets_shared_bytes_only_until_its_buffer_is_full():
    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        write = scope["extensions"][WRITE]
        while write(BODY):
            written.append(len(BODY))
            assert len(written) < 1000
            await asyncio.sleep(0)
        is_full.set()
        await send({"type": "http.response.body", "body": b"end"})  # waits for the client

    written: list[int] = []
    is_full = asyncio.Event()
    config = uvicorn.Config(application, http=Protocol, lifespan="off")
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: Protocol(config=config, server_state=ServerState(), app_state={}), "127.0.0.1", 0
    )
    async with server, asyncio.timeout(30):
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address, limit=1000)
        writer.write(HEAD)
        await is_full.wait()
        assert written
        received = await read_response(reader)
        assert received.endswith(b"3\r\nend\r\n0\r\n\r\n")
        assert received.count(b"\0") == sum(written)
        writer.close()
