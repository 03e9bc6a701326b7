"""Errors of a job: the list, the table, and who resolved them."""

from __future__ import annotations

import csv
from io import StringIO

import pytest

from ingestion_progress import track
from ingestion_progress.models import JobError
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import queue_job
from tests.support.api import JOBS, refusal

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ERRORS = f"{JOBS}/job/errors"


@pytest.fixture(autouse=True)
def job():
    """Three errors of two groups, one of them with two items."""
    with synchronous_tracking(), track("a.pdf", job_id="job", stages=["parsing"]) as job:
        stage = job.stage("parsing")
        stage.record_error("Page 7 is empty", item="page 7")
        stage.record_error("=cmd()", item="+1", kind="@odd")
        stage.record_error("Page 9 is empty", item="page 9")
        return job


def resolution_of(position: int) -> str:
    return f"{ERRORS}/{JobError.objects.order_by('-count')[position].pk}/resolution"


class TestList:
    def test_most_frequent_group_is_first(self, client):
        body = client.get(ERRORS).json()
        assert {key: body[key] for key in ("total", "limit", "offset")} == {
            "total": 2,
            "limit": 50,
            "offset": 0,
        }
        first = body["items"][0]
        assert (first["stage"], first["message"], first["count"]) == (
            "parsing",
            "Page <n> is empty",
            2,
        )
        assert [each["item"] for each in first["examples"]] == ["page 7", "page 9"]
        assert first["examples"][1]["message"] == "Page 9 is empty"
        assert first["first_at"] <= first["last_at"]
        assert (first["resolved_at"], first["resolved_by"]) == (None, "")

    def test_list_has_pages(self, client):
        page = client.get(f"{ERRORS}?limit=1&offset=1").json()
        assert ([each["kind"] for each in page["items"]], page["total"]) == (["@odd"], 2)

    @pytest.mark.parametrize(
        ("query", "messages"),
        [("true", ["Page <n> is empty"]), ("false", ["=cmd()"])],
    )
    def test_resolved_and_open_groups_are_told_apart(self, client, query, messages):
        client.post(resolution_of(0))
        items = client.get(f"{ERRORS}?resolved={query}").json()["items"]
        assert [item["message"] for item in items] == messages

    @pytest.mark.parametrize("query", ["resolved=x", "format=xml", "limit=0"])
    def test_invalid_parameter_is_refused(self, client, query):
        refusal(client.get(f"{ERRORS}?{query}"), 422, "invalid_request")


class TestTable:
    def test_each_group_is_a_line_and_no_cell_is_a_formula(self, client):
        response = client.get(f"{ERRORS}?format=csv&limit=1")
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        lines = list(csv.DictReader(StringIO(response.content.decode())))
        assert [line["count"] for line in lines] == ["2", "1"]
        assert lines[0]["items"] == "page 7; page 9"
        assert lines[0]["example"] == "Page 7 is empty"
        columns = ("kind", "message", "items", "example")
        assert [lines[1][name] for name in columns] == ["'@odd", "'=cmd()", "'+1", "'=cmd()"]

    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", " ="])
    def test_start_of_a_formula_is_quoted(self, client, start):
        JobError.objects.update(kind=f"{start}1")
        response = client.get(f"{ERRORS}?format=csv")
        lines = csv.DictReader(StringIO(response.content.decode(), newline=""))
        assert {line["kind"] for line in lines} == {f"'{start}1"}


class TestResolution:
    def test_user_and_time_are_stored_until_it_is_opened_again(self, admin_client):
        body = admin_client.post(resolution_of(0)).json()
        assert body["resolved_by"] == "admin"
        assert body["resolved_at"] is not None
        assert admin_client.post(resolution_of(0)).json() == body
        assert admin_client.delete(resolution_of(0)).status_code == 204
        assert JobError.objects.filter(resolved_at=None, resolved_by="").count() == 2

    @pytest.mark.parametrize("url", [f"{ERRORS}/0/resolution", f"{ERRORS}/{10**30}/resolution"])
    def test_unknown_group_is_not_found(self, client, url):
        refusal(client.post(url), 404, "not_found")
        refusal(client.delete(url), 404, "not_found")

    def test_group_of_another_job_is_not_found(self, client):
        queue_job("b.pdf", job_id="other")
        url = resolution_of(0).replace("/job/", "/other/")
        refusal(client.post(url), 404, "not_found")
        assert not JobError.objects.exclude(resolved_at=None).exists()

    def test_viewer_may_not_resolve(self, client, settings, django_user_model):
        settings.INGESTION_PROGRESS_IS_PUBLIC = settings.INGESTION_PROGRESS_PUBLIC = False
        client.force_login(django_user_model.objects.create_user("ann"))
        refusal(client.post(resolution_of(0)), 403, "forbidden")
