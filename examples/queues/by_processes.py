import os
import sys
import time
from multiprocessing import get_context

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from ingestion_progress import attach, track


def embed(job_id, part):
    with attach(job_id) as job:
        for chunk in range(10):
            time.sleep(0.05)
            job.stage("embedding").advance(key=10 * part + chunk)


def ingest(name, method="spawn", parts=8):
    with track(name, stages=["embedding"]) as job:
        with job.stage("embedding", total=10 * parts, unit="chunks"):
            with get_context(method).Pool(4) as pool:
                pool.starmap(embed, [(job.job_id, part) for part in range(parts)])
    return job.job_id


if __name__ == "__main__":
    print(ingest("report.pdf", *sys.argv[1:]))
