"""A question about evidence that the database answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import BooleanField, Func, Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler


class StandsInAny(Func):
    """Does the row's evidence name one of these chunks? Django's `contains` leaves SQLite out."""

    output_field = BooleanField()
    template = "EXISTS (SELECT 1 FROM %(function)s(%(expressions)s))"

    def __init__(self, chunks: Iterable[str]) -> None:
        super().__init__("evidence", Func(*map(Value, chunks), template="%(expressions)s"))

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        return self.as_sql(
            compiler,
            connection,
            function="json_each",
            arg_joiner=") AS place WHERE json_extract(place.value, '$.chunk') IN (",
        )

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, Any]:
        return self.as_sql(
            compiler,
            connection,
            function="jsonb_array_elements",
            arg_joiner=") AS place WHERE place.value ->> 'chunk' IN (",
        )
