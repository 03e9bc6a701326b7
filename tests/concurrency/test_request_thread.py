from __future__ import annotations

import pytest
from django.db import connection, transaction

from ingestion_progress.concurrency.request_thread import release_connections


@pytest.mark.django_db(transaction=True)
def test_connections_are_closed_unless_a_transaction_is_open():
    with transaction.atomic():
        connection.ensure_connection()
        release_connections()
        assert connection.connection is not None
    release_connections()
    assert connection.connection is None
