"""Fields of models as the other pages write them: Django has other formats."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.utils.translation import gettext_lazy as _

from ingestion_progress.admin import display
from ingestion_progress.models.names import METRIC_NAMES
from ingestion_progress.web import formatting


def time_of(name: str) -> Any:
    """A field with a time."""

    @admin.display(description=_(name.replace("_", " ")), ordering=name)
    def shown(row: Model) -> str:
        return display.timestamp(getattr(row, name))

    shown.__name__ = f"shown_{name}"
    return shown


def count_of(name: str) -> Any:
    """A field with a number, and its help text."""

    @admin.display(description=_(METRIC_NAMES.get(name, name.replace("_", " "))))
    def shown(row: Model) -> str:
        return formatting.count(getattr(row, name))

    shown.__name__ = name  # by which Django finds the help text
    return shown
