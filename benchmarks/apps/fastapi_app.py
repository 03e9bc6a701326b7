"""FastAPI with one async generator per client, in two ways.

/original  as in the specification of this project: each generator calls the progress manager,
           encodes the event, and sleeps
/shared    faster than such code usually is: encoded once, one Future per generator wakes it
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from benchmarks.apps.frame import event, frame
from benchmarks.apps.pacing import Hub, pause_seconds

app = FastAPI()
hub = Hub(frame)
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Manager:
    """Holds the state in memory; each call sets its time."""

    def __init__(self) -> None:
        self._event = event()

    def get_sse_event(self) -> dict[str, object]:
        from benchmarks.apps.frame import elapsed_ms

        self._event["data"]["timing"]["elapsed_ms"] = elapsed_ms()  # type: ignore[index]
        return self._event


manager = Manager()


@app.get("/original")
async def original() -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        while True:
            found = manager.get_sse_event()
            data = json.dumps(found["data"], separators=(",", ":"))
            yield f"event: {found['type']}\ndata: {data}\n\n"
            await asyncio.sleep(pause_seconds())

    return StreamingResponse(stream(), media_type="text/event-stream", headers=HEADERS)


@app.get("/shared")
async def shared() -> StreamingResponse:
    async def stream() -> AsyncIterator[bytes]:
        yield hub.join()
        try:
            while True:
                yield await hub.next()
        finally:
            hub.leave()

    return StreamingResponse(stream(), media_type="text/event-stream", headers=HEADERS)
