"""VISIBLE_JOBS on streams, with two users who have their own jobs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ingestion_progress.feed import Selection, visibility_reader
from ingestion_progress.feed.queries import read_changes
from ingestion_progress.feed.selection import OVERLAP
from ingestion_progress.feed.visibility import VisibilityQuery
from ingestion_progress.models import Job
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.streams import visibility
from ingestion_progress.streams.limits import get_connection_limits
from tests.feed.test_many_jobs import finish, make_job, write
from tests.streams.test_many_jobs import URL
from tests.streams.test_views import body_of, url_of

pytestmark = pytest.mark.django_db(transaction=True)
OWN_JOBS = "ingestion_progress.auth.visibility.own_jobs"


@pytest.fixture(autouse=True)
def own_jobs(settings, monkeypatch):
    settings.INGESTION_PROGRESS_PUBLIC = False
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
    settings.INGESTION_PROGRESS_RECHECK_SECONDS = 600
    monkeypatch.setattr(visibility_reader, "PAUSE_SECONDS", 0.01)


async def user(name: str) -> User:
    created = await User.objects.acreate_user(name)
    permission = await Permission.objects.aget(codename="view_job")
    await created.user_permissions.aadd(permission)
    return created


async def client_of(who: User) -> AsyncClient:
    client = AsyncClient()
    await client.aforce_login(who)
    return client


class Reader:
    """Reads a stream until something has come."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream
        self.body = b""

    async def until(self, has_come: Callable[[bytes], object]) -> bytes:
        async with asyncio.timeout(60):
            while not has_come(self.body):
                self.body += await anext(self._stream)
        return self.body

    async def sees(self, text: str) -> bytes:
        return await self.until(lambda body: text.encode() in body)

    @property
    def job_ids(self) -> set[str]:
        return {
            json.loads(data)["job_id"]
            for data in re.findall(rb"\ndata: (\{.*\})\n", self.body)
            if b'"job_id"' in data
        }


@asynccontextmanager
async def watching(client: AsyncClient, url: str = URL, **query: str):
    stream = aiter(await client.get(url, query))
    try:
        yield Reader(stream)
    finally:
        await stream.aclose()


async def test_each_user_watches_their_own_jobs(feed):
    anna, bert = await user("anna"), await user("bert")
    await make_job("a", owner=anna)
    await make_job("b", owner=bert)
    async with (
        watching(await client_of(anna)) as of_anna,
        watching(await client_of(bert)) as of_bert,
    ):
        await of_anna.sees('"job_id":"a"')
        await of_bert.sees('"job_id":"b"')
        await make_job("a-2", owner=anna)
        await make_job("b-2", owner=bert)
        await of_anna.sees('"job_id":"a-2"')
        await of_bert.sees('"job_id":"b-2"')
        await write("a-2", entities_total=77)
        await of_anna.sees('"entities_total":77')
        await finish("a")
        await finish("b", JobStatus.FAILED)
        await of_anna.sees("event: complete")
        await of_bert.sees('"code":"failed"')
        assert of_anna.job_ids == {"a", "a-2"}
        assert of_bert.job_ids == {"b", "b-2"}


async def test_a_batch_shows_the_own_jobs_of_it(feed):
    anna = await user("anna")
    await make_job("a", owner=anna, batch="import")
    await make_job("other-batch", owner=anna)
    await make_job("b", batch="import")
    await make_job("c", batch="import", status=JobStatus.SUCCEEDED)
    async with watching(await client_of(anna), batch="import", until="idle") as of_anna:
        await of_anna.sees('"job_id":"a"')
        await finish("a")
        await of_anna.sees("event: idle")  # `b` is active
        assert of_anna.job_ids == {"a"}


async def test_a_stream_that_resumes_gets_the_ends_of_own_jobs_only(feed):
    anna = await user("anna")
    await make_job("a", owner=anna, status=JobStatus.SUCCEEDED)
    await make_job("b", status=JobStatus.SUCCEEDED)
    query = {"last_event_id": "1", "until": "idle"}
    body = await body_of(await (await client_of(anna)).get(URL, query))
    assert b'"job_id":"a"' in body
    assert b'"job_id":"b"' not in body


@pytest.mark.database
@pytest.mark.parametrize("job_id", ["b", "nobody", "x\0y"])
async def test_the_job_of_another_does_not_exist(feed, job_id):
    anna = await user("anna")
    await make_job("a", owner=anna, status=JobStatus.SUCCEEDED)
    await make_job("b")
    client = await client_of(anna)
    body = await body_of(await client.get(url_of(job_id)))
    assert b'"code":"not_found"' in body
    assert b"pipeline_progress" not in body
    query = {"jobs": f"a,{job_id}", "until": "idle"}
    body = await body_of(await client.get(URL, query))
    assert body.count(b'"code":"not_found"') == 1
    assert b"event: complete" in body


async def recheck() -> None:
    limits = get_connection_limits()
    limits._recheck_at = 0.0
    limits.tick(0.0, 1.0)
    await limits._recheck
    await asyncio.sleep(0)


async def test_open_streams_follow_a_change_of_what_is_visible(feed):
    anna, bert = await user("anna"), await user("bert")
    await make_job("a", owner=anna)
    await make_job("b", owner=bert)
    client = await client_of(anna)
    async with (
        watching(client) as of_all,
        watching(client, url_of("a")) as of_one,
        watching(client, jobs="a,nobody") as of_named,
    ):
        for reader in (of_all, of_one, of_named):
            await reader.sees("pipeline_progress")
        await Job.objects.filter(pk="a").aupdate(owner=bert)
        await Job.objects.filter(pk="b").aupdate(owner=anna)
        await recheck()
        await of_all.sees('"job_id":"b"')
        await of_all.sees('"code":"not_found"')
        await of_one.sees('"code":"not_found"')
        await of_named.until(lambda body: body.count(b'"code":"not_found"') == 2)
        await write("b", entities_total=77)
        await of_all.sees('"entities_total":77')


async def test_a_rule_that_fails_shows_nothing(feed, settings):
    anna = await user("anna")
    await make_job("a", owner=anna)
    async with watching(await client_of(anna)) as of_anna:
        await of_anna.sees('"job_id":"a"')
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = "tests.support.rules.broken"
        await recheck()
        await of_anna.sees('"code":"not_found"')


async def test_a_tick_costs_the_same_queries_for_any_number_of_viewers(feed, monkeypatch):
    """Each viewer has another rule; while no job begins, nobody asks what is visible."""
    viewers = [await user(f"user-{number}") for number in range(20)]
    for number, viewer in enumerate(viewers):
        await make_job(f"job-{number}", owner=viewer)
    counts: list[int] = []

    def counted(*args):
        with CaptureQueriesContext(connection) as captured:
            changes = read_changes(*args)
        counts.append(len(captured))
        return changes

    async def ticks(readers: int) -> int:
        async with AsyncExitStack() as streams:
            for viewer in viewers[:readers]:
                reader = await streams.enter_async_context(watching(await client_of(viewer)))
                await reader.sees("pipeline_progress")
            questions: list[object] = []
            with monkeypatch.context() as patched:
                patched.setattr("ingestion_progress.feed.poller.read_changes", counted)
                patched.setattr(VisibilityQuery, "ask", questions.append)
                counts.clear()
                async with asyncio.timeout(60):
                    while len(counts) < 5:  # noqa: ASYNC110  (nothing says so)
                        await asyncio.sleep(0.01)
            assert questions == []
            return max(counts)

    assert await ticks(20) <= await ticks(1)


def test_a_client_whose_clock_is_ahead_gets_no_end_too_late():
    now = timezone.now()
    ended_at = now - OVERLAP + timedelta(seconds=15)
    Job.objects.create(id="ended", status=JobStatus.FAILED, finished_at=ended_at)
    cursor = str(round((now + timedelta(seconds=50)).timestamp() * 1000))
    found = visibility.visible_in(Selection.active(last_event_id=cursor), Job.objects.all())
    assert found.ids == {"ended"}


def test_equal_rules_of_many_streams_are_asked_once(rf, settings):
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = "tests.support.rules.newest_two"
    Job.objects.create(id="a")
    costs = []
    for viewers in (1, 5):
        watching = [
            (rf.get("/"), SimpleNamespace(selection=Selection.active())) for _ in range(viewers)
        ]
        with CaptureQueriesContext(connection) as queries:
            answers = visibility.read_again(watching)
        assert [found.ids for _, found in answers] == [{"a"}] * viewers
        costs.append(len(queries))
    assert costs[0] == costs[1]


class TestFilters:
    @pytest.fixture(autouse=True)
    def public(self, settings):
        settings.INGESTION_PROGRESS_PUBLIC = True
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = ""

    async def test_a_stream_shows_the_jobs_about_one_object(self, feed):
        await make_job("a", about_model="auth.group", about_id="7")
        await make_job("b", about_model="auth.group", about_id="8")
        async with watching(AsyncClient(), about="auth.group:7") as reader:
            await reader.sees('"job_id":"a"')
            await make_job("c", about_model="auth.group", about_id="7")
            await reader.sees('"job_id":"c"')
            assert reader.job_ids == {"a", "c"}

    async def test_a_stream_shows_the_jobs_of_one_owner(self, feed):
        anna = await user("anna")
        await make_job("a", owner=anna)
        await make_job("b")
        client = await client_of(anna)
        for owner in ("me", str(anna.pk)):
            async with watching(client, owner=owner) as reader:
                await reader.sees('"job_id":"a"')
                assert reader.job_ids == {"a"}
        query = {"owner": str(anna.pk), "about": "auth.group:7", "until": "idle"}
        assert b"event: idle" in await body_of(await client.get(URL, query))
        await Job.objects.acreate(id="c", about_model="auth.group", about_id="7")
        assert b"event: idle" in await body_of(await client.get(URL, query))
        query = {"owner": "nobody", "until": "idle"}
        assert b"event: idle" in await body_of(await client.get(URL, query))

    async def test_a_filter_limits_what_a_rule_shows(self, feed, settings):
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
        anna = await user("anna")
        await make_job("a", owner=anna, about_model="auth.group", about_id="7")
        await make_job("b", owner=anna)
        await make_job("c", about_model="auth.group", about_id="7")
        async with watching(await client_of(anna), about="auth.group:7") as reader:
            await reader.sees('"job_id":"a"')
            await recheck()
            await write("a", entities_total=77)
            await reader.sees('"entities_total":77')
            assert reader.job_ids == {"a"}

    @pytest.mark.parametrize(
        "query",
        [
            {"about": "group 7"},
            {"about": "auth.group:7", "jobs": "a"},
            {"owner": "me", "jobs": "a"},
        ],
    )
    async def test_an_invalid_filter_is_refused(self, query):
        response = await AsyncClient().get(URL, query)
        assert (response.status_code, response.json()["code"]) == (400, "bad_request")
