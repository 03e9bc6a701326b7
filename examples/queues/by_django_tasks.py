import time

from django.db import transaction

from ingestion_progress import track
from ingestion_progress.exceptions import JobCancelled, JobExists
from ingestion_progress.tracker import queue_job

try:
    from django.tasks import task
except ImportError:  # before Django 6.0
    from django_tasks import task


@task
def ingest(job_id):
    try:
        with track("", job_id=job_id) as job:
            with job.stage("parsing", total=40, unit="pages") as parsing:
                for page in parsing.iterate(range(40), key=True):
                    time.sleep(0.05)
    except (JobCancelled, JobExists):
        return  # cancelled by a user, or delivered twice


def start(name):
    with transaction.atomic():
        job = queue_job(name, stages=["parsing"], task=ingest)
        ingest.enqueue(job.pk)
    return job.pk
