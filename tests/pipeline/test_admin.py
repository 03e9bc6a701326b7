from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ingestion_progress.pipeline.models import Document, Entity, Relation

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def make_document(number: int) -> Document:
    document = Document.objects.create(
        id=f"doc-{number}",
        name=f"report-{number}.pdf",
        media_type="application/pdf",
        size_bytes=1000,
        sha256=f"{number:064}",
        file="documents/some.pdf",
    )
    one, other = (
        Entity.objects.create(
            document=document,
            key=name.lower(),
            name=name,
            evidence=[{"chunk": 1, "page": 3}, {"chunk": 2, "page": 3}, {"chunk": 7, "page": 12}],
        )
        for name in (f"Ada {number}", f"Babbage {number}")
    )
    Relation.objects.create(
        document=document, source=one, target=other, evidence=[{"chunk": 1, "page": None}]
    )
    return document


@pytest.fixture
def label() -> str:
    return Document._meta.app_label


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("document", ["report-1.pdf", "application/pdf"]),
        ("entity", ["Ada 1", "3, 12", "report-1.pdf"]),
        ("relation", ["Ada 1", "Babbage 1", "report-1.pdf"]),
    ],
)
def test_rows_can_be_searched_and_read(admin_client, label, name, shown) -> None:
    make_document(1)
    make_document(2)
    url = reverse(f"admin:{label}_{name}_changelist")
    html = admin_client.get(url, {"q": "report-1" if name == "document" else "ada 1"}).content
    for text in shown:
        assert text in html.decode()
    assert "report-2.pdf" not in html.decode()


@pytest.mark.parametrize("model", [Document, Entity, Relation])
def test_rows_are_read_only(admin_client: Client, label, model) -> None:
    make_document(1)
    name = model._meta.model_name
    assert admin_client.get(reverse(f"admin:{label}_{name}_add")).status_code == 403
    url = reverse(f"admin:{label}_{name}_change", args=[model.objects.first().pk])
    assert admin_client.get(url).status_code == 200
    assert admin_client.post(url, {"name": "other"}).status_code == 403
    url = reverse(f"admin:{label}_{name}_delete", args=[model.objects.first().pk])
    assert admin_client.post(url, {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("name", ["document", "entity", "relation"])
def test_lists_need_the_same_queries_for_any_number_of_rows(admin_client, label, name) -> None:
    url = reverse(f"admin:{label}_{name}_changelist")
    counts = []
    for numbers in ([0], range(1, 30)):
        for number in numbers:
            make_document(number)
        admin_client.get(url)
        with CaptureQueriesContext(connection) as captured:
            admin_client.get(url)
        counts.append(len(captured))
    assert counts[0] == counts[1]
