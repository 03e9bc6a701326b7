"""The settings of the pipeline: typed properties that are read at each use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings

from ingestion_progress.conf import PREFIX


class PipelineSettings:
    """`conf.qdrant_url` reads `settings.INGESTION_PROGRESS_QDRANT_URL`."""

    def _get(self, name: str, default: Any) -> Any:
        return getattr(settings, PREFIX + name, default)

    @property
    def task(self) -> str:
        """Dotted path of the Django Task that ingests an upload. Its argument is the job's id."""
        return str(self._get("TASK", "ingestion_progress.pipeline.tasks.ingest_document"))

    @property
    def max_upload_bytes(self) -> int:
        """Larger documents are refused with 413."""
        return int(self._get("MAX_UPLOAD_BYTES", 50 * 1024 * 1024))

    @property
    def extraction_workers(self) -> int:
        """Threads that extract entities and relations: the job's worker pool."""
        return int(self._get("EXTRACTION_WORKERS", 4))

    @property
    def qdrant_url(self) -> str:
        """Address of a Qdrant server. If empty, `qdrant_path` is used without a server."""
        return str(self._get("QDRANT_URL", "") or "")

    @property
    def qdrant_api_key(self) -> str | None:
        return str(self._get("QDRANT_API_KEY", "") or "") or None

    @property
    def qdrant_path(self) -> Path:
        """Folder of the embedded Qdrant. Default: `qdrant` in VAR_DIR, or else in BASE_DIR."""
        if given := self._get("QDRANT_PATH", ""):
            return Path(given)
        folders = (getattr(settings, name, None) for name in ("VAR_DIR", "BASE_DIR"))
        return Path(next(filter(None, folders), ".")) / "qdrant"

    @property
    def qdrant_collection(self) -> str:
        return str(self._get("QDRANT_COLLECTION", "chunks"))


conf = PipelineSettings()
