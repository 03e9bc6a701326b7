"""The limit in Python: an event loop that writes ready-made bytes to sockets, and nothing else.

Run as `python -m benchmarks.apps.bare PORT`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import ClassVar, cast

import uvloop

from benchmarks.apps.frame import frame
from benchmarks.apps.pacing import keep_publishing

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
BACKLOG = 4096


def chunk() -> bytes:
    body = frame()
    return b"%x\r\n%s\r\n" % (len(body), body)


class Stream(asyncio.Protocol):
    streams: ClassVar[set[Stream]] = set()
    writable: ClassVar[set[Stream]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.write = cast("asyncio.Transport", transport).write

    def data_received(self, data: bytes) -> None:
        self.write(HEAD + chunk())
        self.streams.add(self)
        self.writable.add(self)

    def pause_writing(self) -> None:
        self.writable.discard(self)

    def resume_writing(self) -> None:
        self.writable.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.streams.discard(self)
        self.writable.discard(self)


def publish() -> None:
    body = chunk()
    for stream in list(Stream.writable):
        stream.write(body)


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Stream, "127.0.0.1", port, backlog=BACKLOG)
    await keep_publishing(publish)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
