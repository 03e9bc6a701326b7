"""The object of the project that a job is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from django.apps import apps
from django.db.models import Model, Q

from ingestion_progress.models.ids import MAX_NAME_LENGTH

SEPARATOR = ":"
NAME_OF_OBJECT = "Name an object as app.model:id, for example shop.order:17."
ABOUT_PATTERN = r"[A-Za-z0-9_]{1,100}\.[A-Za-z0-9_]{1,100}:[\x20-\x7e]{1,255}"


@dataclass(frozen=True, slots=True)
class About:
    """A model and a primary key as text; both are empty for no object."""

    model: str = ""
    """The label of the model, such as `shop.order`."""
    id: str = ""

    @classmethod
    def of(cls, instance: object) -> Self:
        """Raises ValueError unless it is a saved instance of a model, or None."""
        if instance is None:
            return cls()
        if not isinstance(instance, Model) or instance.pk is None:
            raise ValueError(f"about is {instance!r}; it must be a saved instance of a model.")
        key = str(instance.pk)
        if len(key) > MAX_NAME_LENGTH:
            raise ValueError("about has a primary key that is too long.")
        concrete: Any = instance._meta.concrete_model or type(instance)
        return cls(concrete._meta.label_lower, key)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses `shop.order:17`; neither has to exist. Raises ValueError for another form."""
        if not re.fullmatch(ABOUT_PATTERN, text):
            raise ValueError(NAME_OF_OBJECT)
        model, _, key = text.partition(SEPARATOR)
        return cls(model.lower(), key)

    def __str__(self) -> str:
        return f"{self.model}{SEPARATOR}{self.id}" if self.model else ""

    @property
    def condition(self) -> Q:
        """The condition that selects the jobs about this object."""
        return Q(about_model=self.model, about_id=self.id) & ~Q(about_model="")

    def load(self) -> Model | None:
        """The object; None if it, or its model, does not exist any more."""
        if not self.model:
            return None
        try:
            found: Model | None = apps.get_model(self.model)._default_manager.get(pk=self.id)
        except Exception:  # noqa: BLE001  (deleted, or a key or manager of another version)
            return None
        return found
