"""Notifications by the channel layer of Django Channels, if it crosses processes.

`channels_redis.pubsub` subscribes again after Redis was down, but reports neither event. So the
receiver sends itself a probe through the layer.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from ingestion_progress.wakeups.transports import Notification

GROUP = "ingestion_progress.wakeups"
CONNECT_SECONDS = 5.0
PROBE_EVERY_SECONDS = 5.0
PROBE_SECONDS = 5.0
LEAVE_SECONDS = 0.5


class ChannelsTransport:
    def __init__(self) -> None:
        from channels.layers import get_channel_layer

        self._layer: Any = get_channel_layer()

    async def send(self, notification: Notification) -> None:
        message = {"type": "ingestion_progress.hint", "hint": notification.encoded()}
        await self._layer.group_send(GROUP, message)

    async def receive(
        self, deliver: Callable[[Notification], None], ready: Callable[[], None]
    ) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            # Fails if the layer is down, before it keeps a channel for this process.
            await self._layer.group_send(GROUP, {"type": "ingestion_progress.probe"})
            channel = await self._layer.new_channel()
            await self._layer.group_add(GROUP, channel)
        received = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._deliver(channel, deliver, received))
                tasks.create_task(self._probe(channel, received, ready))
        finally:
            await self._leave(channel)

    async def close(self) -> None:
        """The process shares the layer, which closes its connections with the event loop."""

    async def _deliver(
        self, channel: str, deliver: Callable[[Notification], None], received: asyncio.Event
    ) -> None:
        while True:
            message = await self._layer.receive(channel)
            received.set()
            if notification := Notification.decoded(message.get("hint", "")):
                deliver(notification)

    async def _probe(
        self, channel: str, received: asyncio.Event, ready: Callable[[], None]
    ) -> None:
        """Raises TimeoutError when a probe is not received."""
        while True:
            received.clear()
            async with asyncio.timeout(PROBE_SECONDS):
                await self._layer.send(channel, {"type": "ingestion_progress.probe"})
                await received.wait()
            ready()
            await asyncio.sleep(PROBE_EVERY_SECONDS)

    async def _leave(self, channel: str) -> None:
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._layer.group_discard(GROUP, channel)
        except Exception:  # noqa: BLE001, S110  (down or slow: the channel expires)
            pass
