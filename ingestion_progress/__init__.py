"""Live progress of document ingestion for Django.

from ingestion_progress import attach, track
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingestion_progress.tracker import attach, track

__all__ = ["attach", "track"]


def __getattr__(name: str) -> Any:
    # Models cannot be imported before Django has loaded its apps, and this package is one.
    if name in __all__:
        _set_up_spawned_process()
        from ingestion_progress import tracker

        return getattr(tracker, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _set_up_spawned_process() -> None:
    """Sets up Django in a process of a pool that imports the module of its task first.

    The import would fail there, and `multiprocessing.Pool` would start processes for ever.
    """
    import multiprocessing

    import django
    from django.apps import apps

    is_spawned = multiprocessing.parent_process() is not None
    if is_spawned and not (apps.ready or apps.loading):
        django.setup()
