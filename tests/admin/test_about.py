"""The jobs about an object, on the page of this object in the admin."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ingestion_progress.admin.about import MAX_ROWS
from ingestion_progress.models import Job
from ingestion_progress.tracker import queue_job

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = "/admin/ingestion_progress/job/"


@pytest.fixture(autouse=True)
def _urls(settings) -> None:
    settings.ROOT_URLCONF = "tests.support.about_admin_urls"


@pytest.fixture
def group() -> Group:
    return Group.objects.create(name="Buyers")


def url_of(group: Group) -> str:
    return f"/own/auth/group/{group.pk}/change/"


def test_page_of_an_object_shows_the_jobs_about_it(admin_client: Client, group) -> None:
    queue_job("<b>mine.pdf", job_id="mine", about=group)
    queue_job("other.pdf", about=Group.objects.create(name="Sellers"))
    queue_job("none.pdf")
    html = admin_client.get(url_of(group)).content.decode()
    assert re.search(r'<a href="[^"]*/job/mine/[^"]*"><span [^>]*title="&lt;b&gt;mine.pdf"', html)
    assert 'data-job="mine"' in html
    assert "Queued" in html
    assert "Progress of &lt;b&gt;mine.pdf" in html
    assert "other.pdf" not in html
    assert "none.pdf" not in html
    assert f'value="{group.name}"' in html, "the form of the object is still there"
    assert f"progress?about=auth.group%3A{group.pk}" in html
    assert "ingestion_progress/admin-list.js" in html
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style", html)


def test_list_of_jobs_is_limited_to_the_object(admin_client: Client, group) -> None:
    queue_job("mine.pdf", job_id="mine", about=group)
    queue_job("none.pdf")
    html = admin_client.get(url_of(group)).content.decode()
    link = re.search(rf'href="({LIST}\?about=[^"]+)"', html)
    found = admin_client.get(link[1])
    assert [job.pk for job in found.context["cl"].queryset] == ["mine"]
    assert "By object" in found.content.decode()
    assert "By object" not in admin_client.get(LIST).content.decode()
    assert not admin_client.get(LIST, {"about": "\x00"}).context["cl"].queryset


def test_page_of_an_object_shows_the_newest_jobs_at_a_constant_cost(
    admin_client: Client, group
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            html = admin_client.get(url_of(group)).content.decode()
        assert html.count("data-job=") == min(MAX_ROWS, Job.objects.count())
        return len(captured)

    queue_job("0.pdf", about=group)
    admin_client.get(url_of(group))
    few = queries()
    for number in range(MAX_ROWS + 5):
        queue_job(f"{number}.pdf", about=group, stages=["one", "two"])
    assert queries() == few
    assert "All jobs, also older ones" in admin_client.get(url_of(group)).content.decode()


def test_new_object_and_refused_form_are_as_without_jobs(admin_client: Client, group) -> None:
    assert "data-jobs" not in admin_client.get("/own/auth/group/add/").content.decode()
    html = admin_client.post(url_of(group), {"name": ""}).content.decode()
    assert "This field is required." in html
    assert "No jobs yet." in html


def test_without_the_permission_to_view_jobs_there_are_none(client: Client, group, settings):
    queue_job("mine.pdf", about=group)
    user = User.objects.create_user("ada", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="change_group"))
    client.force_login(user)
    html = client.get(url_of(group)).content.decode()
    assert group.name in html
    assert "mine.pdf" not in html
    user.user_permissions.add(Permission.objects.get(codename="view_job"))
    assert "mine.pdf" in client.get(url_of(group)).content.decode()
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = "ingestion_progress.auth.visibility.own_jobs"
    assert "mine.pdf" not in client.get(url_of(group)).content.decode()
