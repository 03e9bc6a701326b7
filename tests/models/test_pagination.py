"""Pages of long lists: every row once, counted up to a limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ingestion_progress.models import Batch, Job
from ingestion_progress.models.pagination import (
    ORDER,
    FirstPages,
    ListCursor,
    ListPage,
    RowCount,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

AT = "0001764244800000"
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC) + timedelta(microseconds=1)


@pytest.fixture
def jobs():
    """Seven, of which three have the same age."""
    ages = {"c": 1, "a": 2, "Z": 2, "é-2": 2, "d": 3, "e": 4, "b": 5}
    Job.objects.bulk_create(
        Job(id=job_id, created_at=NOON - timedelta(microseconds=age))
        for job_id, age in ages.items()
    )
    return Job.objects.all()


def walk(jobs, limit: int) -> list[str]:
    page = ListPage.read(jobs, limit=limit)
    found = [job.pk for job in page.rows]
    while page.next_cursor:
        page = ListPage.read(jobs, limit=limit, cursor=page.next_cursor)
        found += [job.pk for job in page.rows]
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8])
def test_cursors_lead_to_every_row_once_and_in_order(jobs, limit):
    everything = [job.pk for job in jobs.order_by(*ORDER)]
    assert walk(jobs, limit) == everything
    assert len(everything) == 7


def test_cursors_work_with_filters_and_offsets(jobs):
    some = jobs.filter(pk__in=["c", "d", "e", "b"])
    assert walk(some, 2) == ["c", "d", "e", "b"]
    first = ListPage.read(some, limit=1)
    later = ListPage.read(some, limit=1, offset=1, cursor=first.next_cursor)
    assert [job.pk for job in later.rows] == ["e"]


def test_a_cursor_stays_valid_when_its_row_is_deleted_and_newer_rows_come(jobs):
    page = ListPage.read(jobs, limit=5)
    page.rows[-1].delete()
    Job.objects.create(id="new", created_at=NOON)
    rest = ListPage.read(jobs, limit=5, cursor=page.next_cursor)
    assert [job.pk for job in rest.rows] == ["e", "b"]
    assert rest.next_cursor == ""


@pytest.mark.parametrize("pk", ["a", "1-2", "Ærø 100%", "a?b#c", "x" * 255])
def test_a_cursor_is_text(pk):
    cursor = ListCursor.after(Batch(id=pk, created_at=NOON))
    assert ListCursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "-a",
        "1-a",
        f"{AT}",
        f"{AT}-",
        f"{AT}-a/b",
        f"{AT}-\x00",
        f"{AT}- a",
        f"-{AT}-a",
        f"{AT}0-a",
        f"{'१' * 16}-a",
        f"{AT}-{'a' * 256}",
    ],
)
def test_other_text_is_no_cursor(text):
    with pytest.raises(ValueError, match="next_cursor"):
        ListCursor.parse(text)


@pytest.mark.parametrize(("limit", "expected"), [(6, (6, False)), (7, (7, True)), (8, (7, True))])
def test_rows_are_counted_up_to_a_limit(jobs, monkeypatch, limit, expected):
    monkeypatch.setattr(RowCount, "limit", limit)
    with CaptureQueriesContext(connection) as queries:
        count = RowCount.of(jobs)
    assert (count.number, count.is_exact) == expected
    assert FirstPages(jobs, 2).count == expected[0]
    assert f"LIMIT {limit + 1})" in queries[0]["sql"]
