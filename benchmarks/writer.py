"""Runs a job that changes, through the real tracker: `python -m benchmarks.writer SECONDS`.

In each state the name of a worker's chunk is `@` and the time of the report.
"""

from __future__ import annotations

import random
import sys
import time

from benchmarks.apps.frame import JOB_ID
from ingestion_progress.wire.schemas import DEFAULT_WEIGHTS


def write_for_ever(interval_seconds: float) -> None:
    """Changes the job after each interval ± 20 %, so that changes are independent of the ticks."""
    from ingestion_progress import track

    with track("annual-report.pdf", job_id=JOB_ID, workers=1, restart=True) as job:
        job.set_totals(chunks=320, images=12)
        for name in DEFAULT_WEIGHTS:
            job.stage(name, total=320).advance(203)
        while True:
            # One call, because the tracker stores each call as a whole.
            job.worker(1, chunk=f"@{time.time():.6f}").progress(50)
            time.sleep(interval_seconds * random.uniform(0.8, 1.2))


if __name__ == "__main__":
    import django

    django.setup()
    write_for_ever(float(sys.argv[1]))
