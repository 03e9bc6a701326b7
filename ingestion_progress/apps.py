from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from ingestion_progress.feed import Feed
    from ingestion_progress.views.gate import Gate
    from ingestion_progress.views.health import Readiness
    from ingestion_progress.views.questions import Question


class IngestionProgressConfig(AppConfig):
    name = "ingestion_progress"
    verbose_name = "Ingestion progress"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from ingestion_progress import checks  # noqa: F401  (registers the system checks)

        self._feed: Feed | None = None
        self._readiness: Readiness | None = None
        self._job_counts: Question[dict[str, int]] | None = None
        self._gate: Gate | None = None

    @property
    def feed(self) -> Feed:
        """The process's one source of frames, made on first use."""
        if self._feed is None:
            from ingestion_progress.feed import Feed

            self._feed = Feed()
        return self._feed

    @property
    def readiness(self) -> Readiness:
        """What the process can say about its databases, made on first use."""
        if self._readiness is None:
            from ingestion_progress.views.health import Readiness

            self._readiness = Readiness()
        return self._readiness

    @property
    def job_counts(self) -> Question[dict[str, int]]:
        """How many jobs have which status, made on first use."""
        if self._job_counts is None:
            from ingestion_progress.views.metrics import count_jobs
            from ingestion_progress.views.questions import Question

            self._job_counts = Question(count_jobs)
        return self._job_counts

    @property
    def gate(self) -> Gate:
        """Who watches in this process, made on first use."""
        if self._gate is None:
            from ingestion_progress.views.gate import Gate

            self._gate = Gate()
        return self._gate
