"""Frames with a number instead of a state, for code that only sends them."""

from __future__ import annotations

from ingestion_progress.feed import AlreadyCurrent, Subscription
from ingestion_progress.wire.frames import Frame


def frame(number: int, *, is_final: bool = False) -> Frame:
    return Frame(
        body=f"data: {number}\n\n".encode(),
        cursor=f"epoch-{number}",
        percent=float(number),
        is_final=is_final,
    )


def is_current(subscription: Subscription) -> bool:
    """Is the subscription's answer AlreadyCurrent?"""
    ready = subscription.ready
    return ready.done() and isinstance(ready.result(), AlreadyCurrent)
