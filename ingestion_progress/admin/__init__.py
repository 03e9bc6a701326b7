"""Jobs in Django's admin: to look at, to cancel, and to delete once they have ended."""

from ingestion_progress.admin.jobs import JobAdmin

__all__ = ["JobAdmin"]
