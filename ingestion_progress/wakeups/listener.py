"""Receives notifications for the feed of this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection

from ingestion_progress.conf import conf
from ingestion_progress.wakeups.message import Notification, this_process
from ingestion_progress.wakeups.transports import new_backoff, new_transport, transport_name
from ingestion_progress.wakeups.transports.local import Deliver, listening

CLOSE_SECONDS = 1.0


async def listen(deliver: Deliver, received: Counter[str]) -> None:
    """Calls `deliver` for each notification, in the running loop, until it is cancelled.

    `received` counts them by transport; those of this process are `local`. A transport that fails
    is replaced, after growing pauses.
    """
    if conf.wakeups == "off":
        return

    def counted(transport: str) -> Deliver:
        def count_and_deliver(job_ids: Collection[str], ended: Collection[str]) -> None:
            received[transport] += 1
            deliver(job_ids, ended)

        return count_and_deliver

    with listening(counted("local")):
        if name := transport_name():
            await _receive(name, counted(name))
        await asyncio.get_running_loop().create_future()


async def _receive(name: str, deliver: Deliver) -> None:
    backoff = new_backoff()
    labels = {"transport": name, "direction": "receive"}

    def deliver_foreign(notification: Notification) -> None:
        if notification.origin != this_process():
            deliver(notification.job_ids, notification.ended)

    while True:
        transport = new_transport(name)
        try:
            await transport.receive(deliver_foreign, lambda: backoff.succeeded(**labels))
        except Exception as error:  # noqa: BLE001  (the feed polls meanwhile)
            backoff.failed(error, **labels)
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await transport.close()
        await asyncio.sleep(backoff.pause_seconds)
