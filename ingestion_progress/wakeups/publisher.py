"""Notifies the feeds of this process and of others."""

from __future__ import annotations

from ingestion_progress.conf import conf
from ingestion_progress.wakeups.sender import sender
from ingestion_progress.wakeups.transports import local, transport_name


def publish(job_id: str, *, is_end: bool = False) -> None:
    """Notifies that a job was written; `is_end`: it has ended. To be called after the COMMIT."""
    if conf.wakeups == "off":
        return
    local.publish(job_id, is_end=is_end)
    if transport_name():
        sender.publish(job_id, is_end=is_end)
