"""The Celery app, if TASK_QUEUE=celery: `celery --app progress_project worker`."""

import logging.config
import os
from typing import Any

from celery import Celery, signals
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progress_project.settings")
app = Celery("progress_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["ingestion_progress.pipeline.celery"])


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def set_up_logging(**kwargs: Any) -> None:
    """Celery's own configuration would replace that of the project."""
    logging.config.dictConfig(settings.LOGGING)
