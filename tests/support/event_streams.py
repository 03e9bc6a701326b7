"""Reads events of a stream over a real socket."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import httpx_sse


@dataclass(frozen=True)
class Event:
    name: str
    cursor: str
    data: dict[str, Any]


def progress_url(server_url: str, job_id: str) -> str:
    return f"{server_url}/api/v1/admin/ingestion/jobs/{job_id}/progress"


@contextlib.contextmanager
def open_stream(url: str, **headers: str) -> Iterator[httpx.Response]:
    timeout = httpx.Timeout(60)
    with httpx.Client(timeout=timeout) as client, client.stream("GET", url, headers=headers) as r:
        yield r


def events(response: httpx.Response) -> Iterator[Event]:
    """All but keep-alives, until the server ends the stream."""
    received = httpx_sse.EventSource(response).iter_sse()
    # Otherwise the response is closed when the reader that a test does not keep is collected.
    response.extensions["received"] = received
    for event in received:
        # After the first id, httpx-sse returns an empty event for each comment.
        if event.data and event.event != "keepalive":
            yield Event(event.event, event.id, json.loads(event.data))


def watch(url: str, **headers: str) -> list[Event]:
    """All events of a stream that ends."""
    with open_stream(url, **headers) as response:
        return list(events(response))


def percentages(seen: list[Event]) -> list[float]:
    return [
        event.data["overall_progress_percent"]
        for event in seen
        if event.name == "pipeline_progress"
    ]
