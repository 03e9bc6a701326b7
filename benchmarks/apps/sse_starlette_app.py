"""sse-starlette behind Starlette: a generator per client, woken together."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from benchmarks.apps.frame import data
from benchmarks.apps.pacing import Hub

hub = Hub(lambda: data().encode())


async def stream(request: Request) -> EventSourceResponse:
    async def events() -> AsyncIterator[ServerSentEvent]:
        body = hub.join()
        try:
            while True:
                yield ServerSentEvent(body.decode(), event="pipeline_progress", id="1", sep="\n")
                body = await hub.next()
        finally:
            hub.leave()

    return EventSourceResponse(events(), sep="\n")


app = Starlette(routes=[Route("/", stream)])
