"""A job that runs and changes, told by the real tracker: `python -m benchmarks.writer SECONDS`.

Every state says `@` and the moment at which it was reported, where a worker says what it is at.
"""

from __future__ import annotations

import random
import sys
import time

from benchmarks.apps.frame import JOB_ID
from ingestion_progress.wire.percent import DEFAULT_WEIGHTS


def write_for_ever(interval_seconds: float) -> None:
    """A change after each interval, give or take a fifth, so that no tick is met on purpose."""
    from ingestion_progress import track

    with track("annual-report.pdf", job_id=JOB_ID, workers=1, restart=True) as job:
        job.set_totals(chunks=320, images=12)
        for name in DEFAULT_WEIGHTS:
            job.stage(name, total=320).advance(203)
        while True:
            # One call, which the tracker stores as a whole.
            job.worker(1, chunk=f"@{time.time():.6f}").progress(50)
            time.sleep(interval_seconds * random.uniform(0.8, 1.2))


if __name__ == "__main__":
    import django

    django.setup()
    write_for_ever(float(sys.argv[1]))
