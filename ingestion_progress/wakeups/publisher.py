from __future__ import annotations

from ingestion_progress.conf import conf
from ingestion_progress.wakeups.sender import sender
from ingestion_progress.wakeups.transports import carrier_name, local


def publish(job_id: str, *, is_end: bool = False) -> None:
    """Tells the feeds that the job has been written, perhaps for the last time. To be called after
    the COMMIT.
    """
    if conf.wakeups == "off":
        return
    local.publish(job_id, is_end=is_end)
    if carrier_name():
        sender.publish(job_id, is_end=is_end)
