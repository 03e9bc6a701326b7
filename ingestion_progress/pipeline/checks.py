"""System checks of the pipeline's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.checks import register

from ingestion_progress.checks import not_positive
from ingestion_progress.pipeline.conf import conf

if TYPE_CHECKING:
    from django.core.checks import CheckMessage


@register()
def check_upload_limit(**kwargs: Any) -> list[CheckMessage]:
    return not_positive(conf)
