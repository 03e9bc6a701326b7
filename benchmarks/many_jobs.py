"""How old the newest revision of each of many jobs is that one process tracks:
`python -m benchmarks.many_jobs [JOBS] [SECONDS]`, with the database in `DATABASE_URL`.

Every job counts ten items a second. A second process looks at all jobs, ten times a second, and
takes the age of their last change.
"""

from __future__ import annotations

import subprocess
import sys
import time

COUNTS_PER_SECOND = 10
WARM_UP_SECONDS = 3.0
BATCH = "benchmark"


def track_jobs(number: int, seconds: float) -> None:
    """One thread advances all jobs, so that what is measured is the writer."""
    from ingestion_progress import track

    jobs = [track("a.pdf", batch=BATCH, stages=["one", "two"]) for _ in range(number)]
    for job in jobs:
        job.start()
    stages = [job.stage("one", total=10**9) for job in jobs]
    looker = subprocess.Popen([sys.executable, "-m", __spec__.name, "look", str(seconds)])
    stop_at = time.monotonic() + WARM_UP_SECONDS + seconds + 1
    cpu, began = time.process_time(), time.monotonic()
    while time.monotonic() < stop_at:
        for position, stage in enumerate(stages):
            stage.advance()
            if position % 50 == 49:
                time.sleep(50 / number / COUNTS_PER_SECOND)
    print(f"{(time.process_time() - cpu) / (time.monotonic() - began):.2f} cores in this process")
    looker.wait()
    for job in jobs:
        job.complete()


def look(seconds: float) -> None:
    from django.db import connection
    from django.utils import timezone

    from ingestion_progress.models import Job

    time.sleep(WARM_UP_SECONDS)
    ages: list[float] = []
    before, began = (commits(connection), written()), time.monotonic()
    stop_at = time.monotonic() + seconds
    while time.monotonic() < stop_at:
        running = Job.objects.running().filter(batch=BATCH)
        found = list(running.values_list("updated_at", flat=True))
        now = timezone.now()
        ages += [(now - at).total_seconds() for at in found]
        time.sleep(0.1)
    seconds = time.monotonic() - began
    committed, revisions = commits(connection) - before[0], written() - before[1]
    ages.sort()
    p50, p99 = (ages[int(len(ages) * share)] for share in (0.5, 0.99))
    print(f"age of the newest revision: p50 {p50:.2f}, p99 {p99:.2f}, max {ages[-1]:.2f} s")
    print(f"{committed / seconds:.0f} transactions/s, {revisions / seconds:.0f} writes of jobs/s")


def written() -> int:
    """The number of writes of all jobs: each is a revision."""
    from django.db.models import Sum

    from ingestion_progress.models import Job

    running = Job.objects.running().filter(batch=BATCH)
    return running.aggregate(total=Sum("revision"))["total"] or 0


def commits(connection) -> int:
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        )
        return cursor.fetchone()[0]


if __name__ == "__main__":
    import django

    django.setup()
    if sys.argv[1:2] == ["look"]:
        look(float(sys.argv[2]))
    else:
        number, seconds = (*sys.argv[1:3], *("500", "15")[len(sys.argv) - 1 :])
        track_jobs(int(number), float(seconds))
