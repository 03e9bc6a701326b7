from __future__ import annotations

from ingestion_progress.conf import conf
from ingestion_progress.wakeups import local
from ingestion_progress.wakeups.carriers import carrier_name
from ingestion_progress.wakeups.senders import sender


def publish(job_id: str) -> None:
    """Tells the feeds that the job has been written. To be called after the COMMIT."""
    if conf.wakeups == "off":
        return
    local.publish(job_id)
    if carrier_name():
        sender.publish(job_id)
