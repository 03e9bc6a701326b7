"""Keeps the progress tables in the database that `INGESTION_PROGRESS_DATABASE` names.

SQLite locks a whole file for one writer. In a separate file, progress can be written while the
caller's transaction is open, and survives its rollback.
"""

from typing import Any

from django.conf import settings
from django.db import router
from django.db.models import Model

from ingestion_progress.conf import conf

APP_LABEL = "ingestion_progress"


class ProgressRouter:
    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        if model._meta.app_label == APP_LABEL:
            return conf.database
        if isinstance(job := hints.get("instance"), Model) and job._meta.app_label == APP_LABEL:
            # Django would look for the job's owner in the database of the job.
            return router.db_for_read(model)
        return None

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        return self.db_for_read(model, **hints)

    def allow_relation(self, obj1: Model, obj2: Model, **hints: Any) -> bool | None:
        labels = {obj1._meta.app_label, obj2._meta.app_label}
        users = settings.AUTH_USER_MODEL.partition(".")[0]
        return True if labels in ({APP_LABEL}, {APP_LABEL, users}) else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        if app_label == APP_LABEL:
            return db == conf.database
        # A separate progress database has no other tables.
        return False if db == conf.database != "default" else None
