from django.apps import AppConfig


class PipelineConfig(AppConfig):
    name = "ingestion_progress.pipeline"
    label = "ingestion_pipeline"
    verbose_name = "Reference ingestion"
    default_auto_field = "django.db.models.BigAutoField"
    worker_command = "ingestion_worker"
    """What the page of a job that waits too long says to start."""
