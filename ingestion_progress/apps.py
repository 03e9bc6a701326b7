"""The configuration of the app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class IngestionProgressConfig(AppConfig):
    name = "ingestion_progress"
    verbose_name = _("Ingestion progress")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from ingestion_progress import checks  # noqa: F401  (registers the system checks)
        from ingestion_progress.models.names import translate_names

        translate_names(self)
