import time

from django.conf import settings
from django.db import transaction
from redis import Redis
from rq.decorators import job as rq_job

from ingestion_progress import track
from ingestion_progress.exceptions import JobCancelled, JobExists
from ingestion_progress.tracker import queue_job

redis = Redis.from_url(settings.REDIS_URL)


@rq_job("default", connection=redis, timeout=3600)
def ingest(job_id):
    try:
        with track("", job_id=job_id) as job:
            with job.stage("parsing", total=40, unit="pages") as parsing:
                for page in parsing.iterate(range(40), key=True):
                    time.sleep(0.05)
    except (JobCancelled, JobExists):
        return  # cancelled by a user, or queued twice


def start(name):
    with transaction.atomic():
        job = queue_job(name, stages=["parsing"], task="by_rq.ingest")
        transaction.on_commit(lambda: ingest.delay(job.pk))
    return job.pk
