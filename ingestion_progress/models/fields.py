"""Columns that several models have."""

from __future__ import annotations

from django.db import models

from ingestion_progress.models.ids import MAX_NAME_LENGTH


def text_field(
    help_text: str = "", *, max_length: int = MAX_NAME_LENGTH
) -> models.CharField[str, str]:
    """A text column. It is empty by default, also for processes that do not know the column."""
    return models.CharField(
        max_length=max_length, blank=True, default="", db_default="", help_text=help_text
    )
