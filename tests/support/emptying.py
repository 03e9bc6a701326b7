"""Empties the database after a test with `transaction=True`, faster than Django's `flush`.

`flush` truncates each table and sends `post_migrate`, whose receivers read and compare all content
types and permissions. That is 20 ms of CPU on SQLite, and 100 ms on PostgreSQL, for each test.
"""

from __future__ import annotations

import functools

from django.db import connections, transaction
from django.test import TransactionTestCase

# Filled by migrations, and the same after each test.
KEPT = ("django_migrations", "django_content_type", "auth_permission")


@functools.cache
def _tables(alias: str) -> list[str]:
    """The tables that tests fill."""
    names = connections[alias].introspection.django_table_names(
        only_existing=True, include_views=False
    )
    return sorted(set(names) - set(KEPT))


def empty(alias: str) -> None:
    """Deletes the rows of all tests. Foreign keys are checked at the end of the transaction."""
    connection = connections[alias]
    with connection.constraint_checks_disabled(), transaction.atomic(using=alias):
        with connection.cursor() as cursor:
            for table in _tables(alias):
                cursor.execute(f"DELETE FROM {connection.ops.quote_name(table)}")


def _fixture_teardown(case: TransactionTestCase) -> None:
    for alias in case._databases_names(include_mirrors=False):
        empty(alias)


def empty_quickly() -> None:
    """Replaces `flush` in all tests of this process."""
    TransactionTestCase._fixture_teardown = _fixture_teardown
