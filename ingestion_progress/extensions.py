"""What installed apps add to the API and the pages.

An app config names it by dotted paths, which are imported when they are used:

    class PipelineConfig(AppConfig):
        progress_api_routers = ["….search_api.router"]         operations of the API: ninja Routers
        progress_api_errors = ["….uploads.api.PUBLIC_ERRORS"]  {exception: code of the API's errors}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from ninja import Router


def api_routers() -> Iterator[Router]:
    """Operations below `/api/v1/`, each with its own `auth`; by default, who may view jobs."""
    return _named("progress_api_routers")


def api_errors() -> Iterator[Mapping[type[Exception], str]]:
    """Exceptions whose text may be shown to people, and the code that each becomes."""
    return _named("progress_api_errors")


def _named(attribute: str) -> Iterator[Any]:
    for config in apps.get_app_configs():
        for path in getattr(config, attribute, ()):
            yield import_string(path)
