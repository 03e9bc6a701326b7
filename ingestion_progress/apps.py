"""The configuration of the app."""

from django.apps import AppConfig


class IngestionProgressConfig(AppConfig):
    name = "ingestion_progress"
    verbose_name = "Ingestion progress"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from ingestion_progress import checks  # noqa: F401  (registers the system checks)
