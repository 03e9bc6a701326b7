from __future__ import annotations

import asyncio

from ingestion_progress.conf import conf
from ingestion_progress.wakeups.local import Deliver, listening


async def listen(deliver: Deliver) -> None:
    """Hands hints to `deliver`, in the running loop, until it is cancelled."""
    if conf.wakeups == "off":
        return
    with listening(deliver):
        await asyncio.get_running_loop().create_future()
