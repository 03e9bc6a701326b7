from django.apps import AppConfig


class PipelineConfig(AppConfig):
    name = "ingestion_progress.pipeline"
    label = "ingestion_pipeline"
    verbose_name = "Reference ingestion"
    default_auto_field = "django.db.models.BigAutoField"
