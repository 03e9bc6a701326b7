"""Live progress of document ingestion for Django.

from ingestion_progress import attach, current_job, track, tracked
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingestion_progress.tracker import attach, current_job, track, tracked

__all__ = ["attach", "current_job", "track", "tracked"]


def __getattr__(name: str) -> Any:
    # Models cannot be imported before Django has loaded its apps, and this package is one.
    if name in __all__:
        from ingestion_progress import tracker

        return getattr(tracker, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _set_up_spawned_process() -> None:
    """Sets up Django in a process of a `spawn` pool that imports the module of its task first.

    The import of the tracker would fail there, and `multiprocessing.Pool` would start processes for
    ever. Not while the settings are imported, which may import this package.
    """
    multiprocessing = sys.modules.get("multiprocessing.process")
    settings_module = os.environ.get("DJANGO_SETTINGS_MODULE", "")
    if multiprocessing is None or multiprocessing.parent_process() is None:
        return
    if not settings_module or settings_module in sys.modules:
        return
    import django
    from django.apps import apps

    if not (apps.ready or apps.loading):
        django.setup()


_set_up_spawned_process()
