"""Jobs in Django's admin: view and cancel them, and delete finished ones."""

from ingestion_progress.admin.jobs import JobAdmin

__all__ = ["JobAdmin"]
