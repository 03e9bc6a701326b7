from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeVar

from django.db import models, router
from django.db.models import QuerySet

Row = TypeVar("Row", bound=models.Model)


def rows_by(model: type[Row], field: str, keys: Sequence[Any]) -> list[Row]:
    """`model.objects.filter(field__in=keys)` in no order, for who asks the same several times a
    second: to build that query takes twice as long as to run it and to make its rows.
    """
    if not keys:
        return []
    alias = router.db_for_read(model)
    sql = _select(model, field, len(keys), alias)
    return list(QuerySet(model, using=alias).raw(sql, list(keys)))


@functools.lru_cache(maxsize=64)
def _select(model: type[models.Model], field: str, count: int, alias: str) -> str:
    """As Django builds it, with a place for each of so many keys."""
    places = [str(number) for number in range(count)]
    rows: QuerySet[models.Model] = (
        QuerySet(model, using=alias).filter(**{f"{field}__in": places}).order_by()
    )
    sql: str = rows.query.get_compiler(using=alias).as_sql()[0]
    return sql
