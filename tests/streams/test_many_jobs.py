"""The view's decisions about streams of many jobs. Which states they carry is in
`tests/feed/test_many_jobs.py`.
"""

from __future__ import annotations

import json
import logging
import re

import pytest
from django.contrib.auth.models import Permission
from django.test import AsyncClient
from django.urls import reverse

from ingestion_progress.auth import tokens
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.streams.parameters import named_jobs
from tests.feed.test_many_jobs import make_job
from tests.streams.test_views import body_of, first_of

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/v1/admin/ingestion/progress"


@pytest.fixture
def client(feed) -> AsyncClient:
    return AsyncClient()


def job_ids_in(body: bytes) -> list[str]:
    return [json.loads(data)["job_id"] for data in re.findall(rb"progress\n.*\ndata: (.*)", body)]


def test_address_is_beside_that_of_the_jobs():
    assert reverse("ingestion_progress:jobs_progress") == URL


@pytest.mark.parametrize(
    ("text", "names"),
    [(None, None), ("", ()), (",,", ()), ("b,a,b,,c", ("b", "a", "c")), ("a b", ("a b",))],
)
def test_names_are_a_list_without_gaps_and_doubles(text, names):
    assert named_jobs(text) == names


async def test_stream_has_the_headers_of_every_stream(client):
    await make_job("job")
    response = await client.get(URL)

    assert response["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response["Access-Control-Allow-Origin"] == "*"
    assert job_ids_in(await first_of(response)) == ["job"]


@pytest.mark.parametrize("until", ["", "idle"])
async def test_only_a_stream_until_idle_ends_when_no_job_is_active(client, feed, until):
    await make_job("job", JobStatus.SUCCEEDED)
    response = await client.get(URL, {"jobs": "job"} | ({"until": until} if until else {}))
    (stream,) = feed._subscriptions
    assert stream.selection.is_until_idle is bool(until)
    assert b'"job_id":"job"' in await first_of(response)


async def test_named_jobs_that_have_ended_are_sent_with_their_ends(client):
    for number in range(200):
        await make_job(f"job-{number}", JobStatus.SUCCEEDED)
    names = ",".join(f"job-{number}" for number in range(200))
    body = await body_of(await client.get(URL, {"jobs": f",{names},job-7", "until": "idle"}))

    assert sorted(job_ids_in(body)) == sorted(names.split(","))
    assert body.count(b"event: complete") == 200
    assert body.endswith(b"event: idle\nid: " + body.rsplit(b"id: ")[-1])


async def test_client_with_the_end_gets_204(client):
    await make_job("job", JobStatus.FAILED)
    query = {"jobs": "job,nobody", "until": "idle"}
    body = await body_of(await client.get(URL, query))
    idle_id = re.search(rb"event: idle\nid: (\S+)\n", body)[1].decode()

    by_header = await client.get(URL, query, headers={"Last-Event-ID": idle_id})
    by_query = await client.get(URL, query | {"last_event_id": idle_id})

    assert by_header.status_code == by_query.status_code == 204


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"jobs": ",".join(map(str, range(201)))}, "may name 200 jobs, and these are 201"),
        ({"jobs": ","}, "Name jobs"),
        ({"until": "tea"}, "?until= must be idle"),
        ({"jobs": "a", "batch": "b"}, "not both"),
    ],
)
async def test_invalid_query_string_gets_400(client, query, message):
    response = await client.get(URL, query)

    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
    assert message in response.json()["message"]


async def test_limit_of_names_is_a_setting(client, settings):
    settings.INGESTION_PROGRESS_MAX_JOBS_PER_STREAM = 1

    assert (await client.get(URL, {"jobs": "a,b"})).status_code == 400
    assert b'"job_id":"a"' in await body_of(await client.get(URL, {"jobs": "a", "until": "idle"}))


class TestMethods:
    @pytest.mark.parametrize("query", ["", "?jobs="])
    async def test_only_get_and_head(self, query):
        client = AsyncClient(enforce_csrf_checks=True)  # as a program that was never here before
        response = await client.post(URL + query)

        assert (response.status_code, response["Allow"]) == (405, "GET, HEAD, OPTIONS")

    async def test_head_has_the_headers_and_no_stream(self, client, feed):
        assert await body_of(await client.head(URL)) == b""

    async def test_options_lists_the_allowed_methods(self, client):
        response = await client.options(URL)

        assert (response.status_code, response["Allow"]) == (204, "GET, HEAD, OPTIONS")


class TestAccess:
    @pytest.fixture(autouse=True)
    def closed(self, settings):
        settings.INGESTION_PROGRESS_PUBLIC = False

    async def test_stranger_gets_401(self, client):
        assert (await client.get(URL)).status_code == 401

    async def test_user_with_the_permission_watches_all(self, client, django_user_model):
        user = await django_user_model.objects.acreate_user("ada")
        await user.user_permissions.aadd(await Permission.objects.aget(codename="view_job"))
        await client.aforce_login(user)
        await make_job("job")

        assert job_ids_in(await first_of(await client.get(URL))) == ["job"]

    @pytest.mark.parametrize(
        ("covers", "query", "status"),
        [
            (None, {}, 200),
            (None, {"jobs": "a,b"}, 200),
            (["a", "b"], {"jobs": "a,b"}, 200),
            (["a", "b"], {"jobs": "a,b,c"}, 403),
            (["a", "b"], {}, 403),
        ],
    )
    async def test_token_permits_the_jobs_that_it_names(self, client, covers, query, status):
        token, _ = tokens.issue(covers)
        headers = {"Authorization": f"Bearer {token}"}
        response = await client.get(URL, query | {"until": "idle"}, headers=headers)

        assert response.status_code == status
        if status == 200:
            assert b"event: idle\n" in await body_of(response)

    async def test_rule_of_the_project_is_called_for_each_job(self, client, settings):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.streams.test_many_jobs.sees_own_jobs"
        await make_job("mine-1", JobStatus.SUCCEEDED)
        allowed = await client.get(URL, {"jobs": "mine-1,mine-2", "until": "idle"})
        forbidden = await client.get(URL, {"jobs": "mine-1,yours"})
        everything = await client.get(URL)

        assert job_ids_in(await body_of(allowed)) == ["mine-1"]
        assert (forbidden.status_code, everything.status_code) == (401, 401)

    async def test_stream_ends_when_the_permission_for_one_job_is_withdrawn(
        self, client, settings, monkeypatch
    ):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.streams.test_many_jobs.sees_own_jobs"
        settings.INGESTION_PROGRESS_RECHECK_SECONDS = 0.01
        monkeypatch.setattr("ingestion_progress.streams.limits.TICK_SECONDS", 0.01)
        await make_job("mine-1")
        response = await client.get(URL, {"jobs": "mine-1,mine-2"})
        monkeypatch.setitem(OWN, "prefix", "mine-1")
        body = await body_of(response)

        data = json.loads(body.rsplit(b"data: ")[-1])
        assert (data["code"], data["job_id"]) == ("forbidden", "")

    async def test_one_stream_too_many_gets_an_error(self, client, settings):
        settings.INGESTION_PROGRESS_PUBLIC = True
        settings.INGESTION_PROGRESS_MAX_STREAMS = 1
        await make_job("job")
        open_stream = aiter(await client.get(URL))
        await anext(open_stream)
        body = await body_of(await client.get(URL, {"jobs": "job"}))
        await open_stream.aclose()

        data = json.loads(body.rsplit(b"data: ")[-1])
        assert (data["code"], data["job_id"]) == ("too_many_streams", "")


OWN = {"prefix": "mine-"}


def sees_own_jobs(request, job_id):
    return job_id.startswith(OWN["prefix"])


async def test_logs_name_the_jobs(client, caplog):
    caplog.set_level(logging.INFO, "ingestion_progress")
    await body_of(await client.get(URL, {"jobs": "a,b", "until": "idle"}))
    logged = [record for record in caplog.records if record.msg.startswith("sse_")]

    assert [record.msg for record in logged] == ["sse_stream_started", "sse_stream_completed"]
    assert logged[0].job_id == "a,b"
