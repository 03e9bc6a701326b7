"""Notifications from writers to feeds: "this job was written, read it now".

They carry no state and may get lost: the feed reads the database at its next tick anyway.
"""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Callable, Collection

from ingestion_progress.conf import conf
from ingestion_progress.wakeups.sender import background_sender
from ingestion_progress.wakeups.transports import (
    Notification,
    new_backoff,
    new_transport,
    own_origin,
    transport_name,
)

CLOSE_SECONDS = 1.0

Deliver = Callable[[Collection[str], Collection[str]], None]
"""Receives the ids of the jobs that were written, and those of the jobs among them that have ended.
Without ids, any job may have been written.
"""

_listeners: dict[Deliver, asyncio.AbstractEventLoop] = {}
# A forked child inherits the loops but does not run them.
os.register_at_fork(after_in_child=_listeners.clear)


def publish(job_id: str, *, is_end: bool = False) -> None:
    """Notifies that a job was written; `is_end`: it has ended. To be called after the COMMIT.

    From any thread. Never waits and never fails; takes about 10 µs if a feed runs.
    """
    if conf.wakeups == "off":
        return
    for deliver, loop in list(_listeners.items()):
        try:
            loop.call_soon_threadsafe(deliver, (job_id,), (job_id,) if is_end else ())
        except RuntimeError:  # the loop is closed, and its feed has ended
            _listeners.pop(deliver, None)
    if transport_name():
        background_sender.publish(job_id, is_end=is_end)


async def listen(deliver: Deliver, received: Counter[str]) -> None:
    """Calls `deliver` for each notification, in the running loop, until it is cancelled.

    `received` counts them by transport; those of this process are `local`.
    """
    if conf.wakeups == "off":
        return

    def counted(transport: str) -> Deliver:
        def count_and_deliver(job_ids: Collection[str], ended: Collection[str]) -> None:
            received[transport] += 1
            deliver(job_ids, ended)

        return count_and_deliver

    local = counted("local")
    _listeners[local] = asyncio.get_running_loop()
    try:
        if name := transport_name():
            await _receive(name, counted(name))
        await asyncio.get_running_loop().create_future()
    finally:
        _listeners.pop(local, None)


async def _receive(name: str, deliver: Deliver) -> None:
    """Delivers what other processes send. Replaces a transport that fails, after growing pauses."""
    backoff = new_backoff()
    labels = {"transport": name, "direction": "receive"}

    def deliver_foreign(notification: Notification) -> None:
        if notification.origin != own_origin():
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
