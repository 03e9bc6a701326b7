from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from ingestion_progress.feed import Feed


class IngestionProgressConfig(AppConfig):
    name = "ingestion_progress"
    verbose_name = "Ingestion progress"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from ingestion_progress import checks  # noqa: F401  (registers the system checks)

        self._feed: Feed | None = None

    @property
    def feed(self) -> Feed:
        """The process's one source of frames, made on first use."""
        if self._feed is None:
            from ingestion_progress.feed import Feed

            self._feed = Feed()
        return self._feed
