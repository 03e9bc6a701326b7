"""The search and the list cost the same however many jobs there are, and find what they promise."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ingestion_progress.models import Job
from ingestion_progress.models import job_search as search
from ingestion_progress.models.job_search import found_jobs
from ingestion_progress.models.pagination import RowCount
from tests.admin.test_admin import LIST, make_job

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def found(term: str) -> set[str]:
    return {job.pk for job in found_jobs(Job.objects.all(), term)}


def test_an_id_document_or_batch_is_found_alone_although_it_is_part_of_a_name():
    make_job("report", document_name="a.pdf")
    make_job("1", document_name="report.pdf", document_id="d", batch="night")
    assert found("report") == {"report"}
    assert found("d") == {"1"}
    assert found("night") == {"1"}
    assert found("") == {"report", "1"}


def test_parts_of_names_are_looked_for_in_the_newest_jobs(monkeypatch):
    monkeypatch.setattr(search, "MAX_SEARCHED", 2)
    for age in range(3):
        make_job(f"job-{age}", document_name=f"Report {age}.pdf")
        Job.objects.filter(pk=f"job-{age}").update(created_at=timezone.now() - timedelta(days=age))
    assert found("rEport") == {"job-0", "job-1"}
    assert found("port 2") == set()


def test_list_counts_no_further_than_it_shows_pages(admin_client: Client, monkeypatch):
    monkeypatch.setattr(RowCount, "limit", 3)
    for n in range(5):
        make_job(f"job-{n}")
    with CaptureQueriesContext(connection) as queries:
        shown = admin_client.get(LIST).context["cl"]
    assert shown.result_count == 3
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"].upper()]
    of_jobs = [sql for sql in counts if "ingestion_progress_job" in sql]
    assert of_jobs
    assert all("LIMIT 4" in sql for sql in of_jobs)


def test_exact_search_uses_an_index_for_each_column():
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # which reads few rows in sequence
            cursor.execute("SET LOCAL enable_seqscan = off")
        make_job("1", batch="night", document_id="d")
        with CaptureQueriesContext(connection) as queries:
            list(found_jobs(Job.objects.order_by(), "night"))
        explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
        cursor.execute(explain + queries[-1]["sql"])
        plan = "\n".join(str(row) for row in cursor.fetchall())
    for index in ("ingestion_job_document", "ingestion_job_batch"):
        assert index in plan
    assert "Seq Scan" not in plan
