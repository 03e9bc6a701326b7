"""Jobs about objects of the project."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User

from ingestion_progress import track
from ingestion_progress.models import Job
from ingestion_progress.models.about import About
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import queue_job
from tests.support.api import JOBS, refusal
from tests.support.page_jobs import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def group() -> Group:
    return Group.objects.create(name="Buyers")


def test_jobs_about_an_object_are_found(group):
    other = Group.objects.create(name="Sellers")
    user = User.objects.create_user("anna", pk=group.pk) if group.pk else None
    with synchronous_tracking(), track("a.pdf", job_id="a", about=group):
        queue_job("b.pdf", job_id="b", about=group)
    queue_job("c.pdf", about=other)
    queue_job("d.pdf", about=user)
    queue_job("e.pdf")
    found = Job.objects.about(group)
    assert set(found.values_list("pk", flat=True)) == {"a", "b"}
    assert {job.about for job in found} == {group}
    assert Job.objects.get(document_name="e.pdf").about is None


def test_a_queued_job_keeps_its_object(group):
    queue_job("a.pdf", job_id="a", about=group)
    with synchronous_tracking(), track("a.pdf", job_id="a"):
        assert Job.objects.get().about == group


def test_a_deleted_object_is_none_and_its_jobs_stay(group):
    queue_job("a.pdf", about=group)
    group.delete()
    job = Job.objects.get()
    assert (job.about, job.about_model) == (None, "auth.group")
    Job.objects.update(about_model="gone.model")
    assert Job.objects.get().about is None


@pytest.mark.parametrize("thing", ["text", object(), Group(name="not saved"), Group])
def test_only_saved_instances_are_accepted(thing):
    with pytest.raises(ValueError, match="about is"):
        queue_job("a.pdf", about=thing)
    with pytest.raises(ValueError, match="about is"):
        Job.objects.about(thing)
    assert not Job.objects.exists()


def test_none_is_about_no_object():
    queue_job("a.pdf", about=None)
    assert not Job.objects.about(None).exists()


def test_an_object_is_named_by_model_and_key(group):
    text = str(About.of(group))
    assert text == f"auth.group:{group.pk}"
    assert About.parse(text.upper().replace("GROUP", "Group")) == About.of(group)
    for invalid in (
        "",
        "auth:1",
        "auth.group",
        "auth.group:",
        "a.b.c:1",
        "auth.group:\0",
        "a" * 600,
    ):
        with pytest.raises(ValueError, match=r"app\.model:id"):
            About.parse(invalid)


def test_the_api_lists_and_shows_them(client, group):
    queue_job("a.pdf", job_id="a", about=group)
    queue_job("b.pdf", job_id="b")
    body = client.get(JOBS, {"about": f"auth.group:{group.pk}"}).json()
    assert [item["job_id"] for item in body["items"]] == ["a"]
    assert body["items"][0]["about"] == {"model": "auth.group", "id": str(group.pk)}
    assert client.get(f"{JOBS}/b").json()["about"] is None
    assert client.get(JOBS, {"about": "auth.group:nobody"}).json()["total"] == 0
    refusal(client.get(JOBS, {"about": "group 1"}), 422, "invalid_request")


def test_the_page_names_the_object(client, group):
    queue_job("a.pdf", job_id="a", about=group)
    assert "<dt>About</dt><dd><bdi>Buyers</bdi></dd>" in text_of(client, "/jobs/a/")
    group.delete()
    assert "<dt>About</dt><dd><bdi>auth.group " in text_of(client, "/jobs/a/")
