"""The user to whom a job belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from ingestion_progress.models.ids import MAX_NAME_LENGTH


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A primary key and a user name; None and empty without a user."""

    id: Any = None
    name: str = ""

    @classmethod
    def of(cls, user: Any) -> Self:
        """From a user, a primary key, None or an anonymous user. Raises ValueError for a key that
        no user can have.
        """
        if user is None or getattr(user, "is_anonymous", False):
            return cls()
        name = user.get_username() if hasattr(user, "get_username") else ""
        try:
            key = get_user_model()._meta.pk.to_python(getattr(user, "pk", user))
        except ValidationError:
            raise ValueError(f"owner is {user!r}; it must be a user or a user's key.") from None
        if key is None:
            raise ValueError("owner is a user who is not saved.")
        return cls(id=key, name=str(name)[:MAX_NAME_LENGTH])
