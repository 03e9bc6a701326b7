"""django-tasks-db: the worker inside its command `db_worker`."""

from __future__ import annotations

from django_tasks_db.management.commands.db_worker import Worker

__all__ = ["Worker"]
