import time

from by_celery import app
from celery import chord
from django.db import transaction

from ingestion_progress import attach, track
from ingestion_progress.exceptions import InvalidTransition, JobCancelled, JobExists, JobSuperseded
from ingestion_progress.tracker import queue_job

PARTS = 20


@app.task(acks_late=True, reject_on_worker_lost=True)
def begin(job_id):
    try:
        job = track("", job_id=job_id)
        job.start()
    except (JobCancelled, JobExists):
        return
    embedding = job.stage("embedding", total=PARTS, unit="parts")
    parts = [embed.si(job_id, job.epoch, n) for n in range(PARTS) if not embedding.is_done(n)]
    job.flush()
    job.leave()
    chord(parts or [embed.si(job_id, job.epoch, 0)], end.si(job_id, job.epoch))()


@app.task(acks_late=True, reject_on_worker_lost=True)
def embed(job_id, epoch, number):
    job = joined(job_id, epoch)
    if job is None or job.stage("embedding").is_done(number):
        return
    with job:
        time.sleep(0.05)
        job.stage("embedding").advance(key=number)  # counts once, however often it is delivered


@app.task(acks_late=True, reject_on_worker_lost=True)
def end(job_id, epoch):
    if job := joined(job_id, epoch):
        job.complete()


def joined(job_id, epoch):
    """The job, unless it is to stop, has ended, or another attempt runs."""
    job = attach(job_id)
    try:
        job.start()
        job.raise_if_cancelled()
    except (InvalidTransition, JobCancelled, JobSuperseded):
        return None
    return job if job.epoch == epoch else None


def start(name):
    with transaction.atomic():
        job = queue_job(name, stages=["embedding"], task=begin)
        transaction.on_commit(lambda: begin.delay(job.pk))
    return job.pk
