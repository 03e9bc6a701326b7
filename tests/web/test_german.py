"""Each page in German: in the language of the browser, without English words."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import date_format

from ingestion_progress.models import Batch
from ingestion_progress.models.statuses import JobStatus
from tests.support.german import VisibleTexts, english_of_page
from tests.support.page_jobs import job_with, page_of

pytest_plugins = ["tests.support.german_pages"]
pytestmark = pytest.mark.django_db

LIST = reverse("ingestion_progress:job_list")


@pytest.mark.usefixtures("german_jobs")
@pytest.mark.parametrize(
    "path",
    [
        LIST,
        f"{LIST}?batch=b",
        f"{LIST}?batch=b&status=queued&q=none",
        f"{LIST}?owner=me",
        f"{LIST}?group=attention",
        *(page_of(f"j{number}") for number, _ in enumerate(JobStatus)),
        reverse("ingestion_progress:search"),
        f"{reverse('ingestion_progress:search')}?q=Haus",
        reverse("login"),
        reverse("admin:index"),
        reverse("admin:ingestion_progress_job_changelist"),
        reverse("admin:ingestion_progress_job_change", args=["j3"]),
        reverse("admin:ingestion_progress_batch_changelist"),
        reverse("admin:ingestion_progress_batch_change", args=["b"]),
        reverse("admin:ingestion_pipeline_document_changelist"),
        reverse("admin:ingestion_pipeline_entity_changelist"),
        reverse("admin:ingestion_pipeline_relation_changelist"),
    ],
)
def test_page_has_no_english_words(german, path):
    response = german.get(path)
    assert response.status_code == 200
    assert '<html lang="de"' in response.text
    assert english_of_page(response.text) == []


@pytest.mark.parametrize("path", [page_of("none"), "/nowhere/", f"{LIST}?batch=%2F"])
def test_error_page_has_no_english_words(german, path):
    response = german.get(path)
    assert response.status_code == 404
    assert english_of_page(response.text) == []


def test_texts_of_an_english_page_are_found(client):
    found = english_of_page(client.get("/nowhere/").text)
    assert "Page not found" in found
    assert (
        "There is no page at this address. It may be incomplete, or the page was removed." in found
    )


def test_dates_and_numbers_are_german(german):
    job = job_with(JobStatus.SUCCEEDED, error_count=1234)
    html = german.get(page_of(job.pk)).text
    assert "1.200 / 4.800 Seiten" in html
    assert "Fehler beim Einlesen: 1.234" in html
    assert "100 %" in html.replace("\xa0", " ")
    assert f"{job.created_at.day}. " in html


def test_numbers_and_times_of_the_admin_are_german(german):
    job = job_with(JobStatus.SUCCEEDED, error_count=1234, failed_items=5678)
    html = german.get(reverse("admin:ingestion_progress_job_change", args=[job.pk])).text
    texts = VisibleTexts(html).texts
    assert {"1.200", "4.800", "1.234", "5.678", "Seiten"} <= set(texts)
    assert "Elemente aller Schritte, die in diesem Versuch fehlgeschlagen sind." in texts
    batch = Batch.objects.create(id="b")
    html = german.get(reverse("admin:ingestion_progress_batch_change", args=[batch.pk])).text
    with translation.override("de"):
        created_at = date_format(timezone.localtime(batch.created_at), "j. N Y, H:i:s")
    assert created_at in VisibleTexts(html).texts


@pytest.mark.usefixtures("german_jobs")
def test_messages_of_actions_are_german(german):
    path = reverse("ingestion_progress:job_selection")
    asked = german.post(path, {"action": "delete", "job": ["j3"]}).text
    assert "1 Job löschen?" in asked
    assert english_of_page(asked) == []
    done = german.post(path, {"action": "retry", "job": ["j1"]}, follow=True).text
    assert "Neu eingereiht: 0 Jobs. Nicht geändert: 1 Job." in done
