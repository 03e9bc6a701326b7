"""Jobs and batches in Django's admin: view, cancel and retry them, and delete finished ones."""

from ingestion_progress.admin.about import JobsAboutMixin
from ingestion_progress.admin.batches import BatchAdmin
from ingestion_progress.admin.jobs import JobAdmin

__all__ = ["BatchAdmin", "JobAdmin", "JobsAboutMixin"]
