"""Django: private attributes of responses, and the SQL compiler without a QuerySet."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import models
from django.db.models import Model, QuerySet
from django.db.models.expressions import Col
from django.db.models.sql import Query
from django.http import HttpRequest
from django.http.response import HttpResponseBase


def set_signal_sender(response: HttpResponseBase, handler: type) -> None:
    """Makes `response.close` send `request_finished` with this handler class as the sender."""
    response._handler_class = handler  # type: ignore[attr-defined]  # noqa: SLF001


def forget_request(response: HttpResponseBase) -> None:
    """Makes the response drop its request, which takes some kilobytes, without closing it."""
    closers: list[Callable[[], None]] = response._resource_closers  # type: ignore[attr-defined]  # noqa: SLF001
    closers[:] = [
        close for close in closers if not isinstance(getattr(close, "__self__", None), HttpRequest)
    ]


def mark_as_logged(response: HttpResponseBase) -> None:
    """Keeps Django from logging this response."""
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001


def select_sql(rows: QuerySet[Any]) -> str:
    """The QuerySet's statement with placeholders for its parameters."""
    sql: str = rows.query.get_compiler(using=rows.db).as_sql()[0]
    return sql


def converted(
    model: type[Model], alias: str, rows: Sequence[Sequence[Any]]
) -> Iterable[Sequence[Any]]:
    """Rows of all columns with the fields' Python values instead of the driver's."""
    compiler = Query(model).get_compiler(using=alias)
    converters = compiler.get_converters(_columns(model))
    return compiler.apply_converters(rows, converters) if converters else rows


@functools.cache
def _columns(model: type[models.Model]) -> list[Col]:
    return [field.get_col(model._meta.db_table) for field in model._meta.concrete_fields]
