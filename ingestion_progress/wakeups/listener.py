from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection

from ingestion_progress.conf import conf
from ingestion_progress.wakeups.backoff import Outage
from ingestion_progress.wakeups.message import Hint, this_process
from ingestion_progress.wakeups.transports import carrier_name, new_carrier
from ingestion_progress.wakeups.transports.local import Deliver, listening

CLOSE_SECONDS = 1.0


async def listen(deliver: Deliver, heard: Counter[str]) -> None:
    """Hands hints to `deliver`, in the running loop, until it is cancelled.

    `heard` counts them, by carrier; those of this process are `local`. A carrier that is away is
    tried again with a growing pause.
    """
    if conf.wakeups == "off":
        return

    def counted(carrier: str) -> Deliver:
        def count_and_deliver(job_ids: Collection[str], ended: Collection[str]) -> None:
            heard[carrier] += 1
            deliver(job_ids, ended)

        return count_and_deliver

    with listening(counted("local")):
        if name := carrier_name():
            await _receive(name, counted(name))
        await asyncio.get_running_loop().create_future()


async def _receive(name: str, deliver: Deliver) -> None:
    outage = Outage("receive")

    def deliver_foreign(hint: Hint) -> None:
        if hint.origin != this_process():
            deliver(hint.job_ids, hint.ended)

    while True:
        carrier = new_carrier(name)
        try:
            await carrier.receive(deliver_foreign, lambda: outage.is_over(name))
        except Exception as error:  # noqa: BLE001  (the poll goes on, whatever the reason)
            outage.goes_on(name, error)
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await carrier.close()
        await asyncio.sleep(outage.pause_seconds)
