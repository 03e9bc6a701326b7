import os
import time

from celery import Celery
from django.conf import settings
from django.db import transaction

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
app = Celery("queues", broker=settings.REDIS_URL, backend=settings.REDIS_URL)
app.conf.update(worker_prefetch_multiplier=1, imports=["by_celery", "by_celery_chord"])
app.conf.beat_schedule = {"rescue": {"task": "by_celery.rescue", "schedule": 2.0}}


@app.task(acks_late=True, reject_on_worker_lost=True)
def ingest(job_id):
    from ingestion_progress import track
    from ingestion_progress.exceptions import JobCancelled, JobExists

    try:
        with track("", job_id=job_id, retry_on=(OSError,)) as job:
            with job.stage("parsing", total=40, unit="pages") as parsing:
                for page in parsing.iterate(range(40), key=True):
                    time.sleep(0.05)
    except (JobCancelled, JobExists):
        return  # cancelled by a user, or delivered twice


@app.task(ignore_result=True, expires=2)
def rescue():
    from ingestion_progress.recovery import rescue_pass

    rescue_pass()


def start(name):
    from ingestion_progress.tracker import queue_job

    with transaction.atomic():
        job = queue_job(name, stages=["parsing"], task=ingest)
        transaction.on_commit(lambda: ingest.delay(job.pk))
    return job.pk
