"""The task that ingests one document."""

import logging
from typing import Any

from ingestion_progress.exceptions import BatchFull, JobCancelled, JobExists, JobNotFound
from ingestion_progress.recovery import continue_batch

try:
    from django.tasks import task
except ImportError:  # before Django 6.0
    from django_tasks import task  # type: ignore[no-redef]

logger = logging.getLogger("ingestion_progress.pipeline")


@task(queue_name="default")
def ingest_document(job_id: str) -> None:
    """Ingests the document of a job. The task also succeeds if the job is cancelled or deleted, if
    it runs already or has ended (a queue may deliver a task twice), and if it waits for its batch.
    """
    # Imported late: a web process, which only enqueues, does not need the libraries.
    from ingestion_progress.pipeline.ingestion import ingest

    try:
        ingest(job_id)
    except (JobCancelled, BatchFull):
        return
    except JobExists as error:
        logger.info("task_delivered_again", extra={"job_id": job_id, "status": error.status})
    except JobNotFound:
        logger.warning("job_deleted_before_it_began", extra={"job_id": job_id})
    finally:
        continue_batch(job_id)


@task(queue_name="default")
def extract_chunks(job_id: str, epoch: str, document_id: str, chunks: list[dict[str, Any]]) -> None:
    """Extracts from chunks of a document that another worker ingests, if they are not done yet."""
    from ingestion_progress.pipeline.stages.shared_extraction import extract_part

    extract_part(job_id, epoch, document_id, chunks)
