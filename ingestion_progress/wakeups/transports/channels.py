"""The channel layer of Django Channels, where one is configured that crosses processes.

`channels_redis.pubsub` subscribes again by itself after Redis was away, but says nothing: a probe
that goes through the layer and back says whether it is heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ingestion_progress.wakeups.message import Hint

GROUP = "ingestion_progress.wakeups"
CONNECT_SECONDS = 5.0
PROBE_EVERY_SECONDS = 5.0
PROBE_SECONDS = 5.0
LEAVE_SECONDS = 0.5


class LayerCarrier:
    def __init__(self) -> None:
        from channels.layers import get_channel_layer

        self._layer: Any = get_channel_layer()

    async def send(self, hint: Hint) -> None:
        await self._layer.group_send(GROUP, _message(hint))

    async def receive(self, deliver: Callable[[Hint], None], ready: Callable[[], None]) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            # A layer that is away says so here, before it keeps a channel for us.
            await self._layer.group_send(GROUP, {"type": "ingestion_progress.probe"})
            channel = await self._layer.new_channel()
            await self._layer.group_add(GROUP, channel)
        heard = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._take(channel, deliver, heard))
                tasks.create_task(self._probe(channel, heard, ready))
        finally:
            await self._leave(channel)

    async def close(self) -> None:
        """The layer belongs to the process, and closes its connections with the loop."""

    async def _take(
        self, channel: str, deliver: Callable[[Hint], None], heard: asyncio.Event
    ) -> None:
        while True:
            message = await self._layer.receive(channel)
            heard.set()
            if hint := Hint.decoded(message.get("hint", "")):
                deliver(hint)

    async def _probe(self, channel: str, heard: asyncio.Event, ready: Callable[[], None]) -> None:
        """Fails once what we send to ourselves does not come back."""
        while True:
            heard.clear()
            async with asyncio.timeout(PROBE_SECONDS):
                await self._layer.send(channel, {"type": "ingestion_progress.probe"})
                await heard.wait()
            ready()
            await asyncio.sleep(PROBE_EVERY_SECONDS)

    async def _leave(self, channel: str) -> None:
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._layer.group_discard(GROUP, channel)
        except Exception:  # noqa: BLE001, S110  (it is away, or slow: it forgets us by itself)
            pass


def _message(hint: Hint) -> dict[str, str]:
    return {"type": "ingestion_progress.hint", "hint": hint.encoded()}
