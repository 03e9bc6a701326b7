"""Django's page of what was done with a job in the admin."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests.support.page_jobs import job_with

pytestmark = pytest.mark.django_db


def test_history_of_a_job_is_shown(admin_client):
    job_with(job_id="a")
    page = reverse("admin:ingestion_progress_job_history", args=["a"])
    assert admin_client.get(page).status_code == 200
