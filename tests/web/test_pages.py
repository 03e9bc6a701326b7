"""The list of jobs and the page of one job, as the server renders them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import parse_qs, quote, urlencode

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone

from ingestion_progress.models import Job, JobEvent, job_search
from ingestion_progress.models.pagination import RowCount
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.tracker import create_batch, queue_job, request_cancellation
from ingestion_progress.web.pagination import PAGE_SIZE
from ingestion_progress.web.recent_batches import MAX_BATCHES
from ingestion_progress.web.views import EVENTS_SHOWN
from tests.support.page_jobs import cancellation_of, job_with, page_of, text_of, visible_notice

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = reverse("ingestion_progress:job_list")


# The list


@pytest.mark.parametrize("count", [1, PAGE_SIZE])
@pytest.mark.parametrize(
    ("query", "queries"), [({}, 8), ({"batch": "import", "status": "running"}, 7)]
)
def test_list_makes_a_fixed_number_of_queries_for_any_number_of_jobs(
    client, django_assert_num_queries, count, query, queries
):
    create_batch(batch_id="import")
    for number in range(count):
        job_with(job_id=f"job-{number}", batch="import")
    with django_assert_num_queries(queries):  # none for the workers, who may be thousands
        assert client.get(LIST, query).content.decode().count('class="job"') == count


def test_pages_without_javascript_name_the_time_zone_of_their_times(client):
    job_with()
    for url in (LIST, page_of("job-1")):
        note = re.search(r"<noscript><p class=.site-zone.>([^<]+)</p>", text_of(client, url))
        assert note[1] == "Times are in the time zone UTC."


def test_list_shows_the_newest_job_first(client):
    now = timezone.now()
    for number in range(3):
        job_with(job_id=f"job-{number}", created_at=now - timedelta(minutes=number))
    assert re.findall(r'data-job="([\w-]+)"', text_of(client, LIST)) == ["job-0", "job-1", "job-2"]


def test_list_is_paginated_and_links_to_the_older_jobs(client):
    for number in range(PAGE_SIZE + 1):
        job_with(job_id=f"job-{number}", status=JobStatus.FAILED)
    first, second = text_of(client, f"{LIST}?status=failed"), text_of(client, f"{LIST}?page=2")
    assert first.count('class="job"') == PAGE_SIZE
    assert 'href="?status=failed&amp;cursor=' in first
    assert "1–25 of 26" in first
    assert second.count('class="job"') == 1


def test_jobs_beyond_those_that_are_counted_are_reached_by_cursors(client, monkeypatch):
    monkeypatch.setattr(RowCount, "limit", 2 * PAGE_SIZE)
    now = timezone.now()
    Job.objects.bulk_create(
        Job(id=f"job-{n}", batch="b", created_at=now - timedelta(minutes=n)) for n in range(110)
    )
    url, shown, places = f"{LIST}?batch=b&status=queued", [], []
    while url:
        html = text_of(client, url)
        ids = re.findall(r'data-job="([\w-]+)"', html)
        # The page updates itself from the same part of the list.
        polled = text_of(client, unescape(re.search('id="jobs" data-poll="(.*?)"', html)[1]))
        assert re.findall(r'data-job="([\w-]+)"', polled) == ids
        shown += ids
        places += re.findall(r"<span>([0-9]+–.*?|Older jobs)</span>", html)
        has_first = f'rel="first" href="{LIST}?batch=b&amp;status=queued"' in html
        assert has_first == (places[-1] != "1–25 of 50+")
        older = re.search('rel="next" href="(.*?)"', html)
        url = LIST + unescape(older[1]) if older else ""
    assert shown == [f"job-{n}" for n in range(110)]
    assert places == ["1–25 of 50+", "26–50 of 50+", "51–75 of 75+", *["Older jobs"] * 2]


@pytest.mark.parametrize("sort", ["newest", "oldest", "longest", "shortest", "name"])
def test_pages_stay_right_while_jobs_come_end_and_go(client, sort):
    at = timezone.now() - timedelta(hours=1)
    Job.objects.bulk_create(
        Job(id=f"job-{n}", batch="b", document_name=f"{n % 7}.pdf", status="succeeded",
            created_at=at + timedelta(seconds=n // 2), started_at=at,
            finished_at=at + timedelta(seconds=n % 9 + 1))
        for n in range(3 * PAGE_SIZE)
    )  # fmt: skip

    def linked(html: str, rel: str) -> str:
        return text_of(client, LIST + unescape(re.search(f'rel="{rel}" href="(.*?)"', html)[1]))

    whole = first = text_of(client, f"{LIST}?status=succeeded&sort={sort}")
    shown = [jobs_in(first)]
    for _ in range(2):
        whole = linked(whole, "next")
        shown.append(jobs_in(whole))
    assert "51–75 of 75" in whole
    assert 'rel="next"' not in whole
    # One begins each list, or ends it.
    for job_id, seconds, name in (("new-1", 0, "!.pdf"), ("new-2", 99, "9.pdf")):
        start = at - timedelta(days=1) if job_id == "new-1" else timezone.now()
        end = start + timedelta(seconds=seconds)
        job_with(JobStatus.SUCCEEDED, job_id=job_id, document_name=name, created_at=start,
                 started_at=start, finished_at=end)  # fmt: skip
    Job.objects.get(pk=shown[0][-1]).delete()
    second = linked(first, "next")
    assert jobs_in(second) == shown[1]
    third = linked(second, "next")
    assert jobs_in(third)[:PAGE_SIZE] == shown[2]
    assert jobs_in(linked(third, "prev")) == shown[1]
    back = jobs_in(linked(second, "prev"))
    assert back[-PAGE_SIZE + 2 :] == shown[0][:-1][-PAGE_SIZE + 2 :]


@pytest.mark.parametrize("cursor", ["job-1", "1-a/b", "\x00"])
def test_invalid_cursor_shows_the_newest_jobs(client, cursor):
    job_with()
    assert 'data-job="job-1"' in text_of(client, f"{LIST}?{urlencode({'cursor': cursor})}")


@pytest.mark.parametrize("page", ["0", "-1", "99999999999999999999", "two", "\x00"])
def test_invalid_page_number_shows_a_valid_page(client, page):
    job_with()
    assert client.get(LIST, {"page": page}).status_code == 200


def test_list_shows_one_status_only(client):
    job_with(job_id="done", status=JobStatus.SUCCEEDED)
    job_with(job_id="broken", status=JobStatus.FAILED)
    html = text_of(client, f"{LIST}?status=failed")
    assert 'data-job="broken"' in html
    assert 'data-job="done"' not in html
    assert f'data-poll="{LIST}?status=failed"' in html


def test_unknown_status_shows_all_jobs(client):
    job_with()
    assert 'data-job="job-1"' in text_of(client, f"{LIST}?status=nonsense")


def test_empty_list_explains_what_to_do(client):
    html = text_of(client, LIST)
    assert "No jobs yet." in html
    assert "manage.py ingest" in html


def test_filter_without_jobs_shows_an_explanation(client):
    assert "No job is lost." in text_of(client, f"{LIST}?status=lost")


# The groups of the first page


def groups_of(html: str) -> dict[str, list[str]]:
    """The ids of the jobs in each group, in their order."""
    parts = re.findall(r'<section class="group" data-key="(\w+)"(.*?)</section>', html, re.DOTALL)
    return {name: re.findall(r'data-job="([\w-]+)"', part) for name, part in parts}


def tabs_of(html: str) -> dict[str, str]:
    return dict(re.findall(r'data-group="(\w+)"><span>.*?"tab-count">(.*?)<', html))


def job_of_each_kind() -> None:
    now = timezone.now()
    for status in JobStatus:
        job_with(status, job_id=f"{status}-1")
    job_with(JobStatus.SUCCEEDED, job_id="partial-1", failed_items=2)
    job_with(job_id="silent-1", heartbeat_at=now - timedelta(minutes=10))
    job_with(job_id="stalled-1", updated_at=now - timedelta(minutes=20))
    job_with(job_id="service-1", updated_at=now - timedelta(minutes=20), waiting_for="the model")


def test_every_job_is_in_one_group_and_counted_in_its_tab(client):
    job_of_each_kind()
    html = text_of(client, LIST)
    assert {name: set(ids) for name, ids in groups_of(html).items()} == {
        "attention": {"failed-1", "lost-1", "partial-1", "silent-1", "stalled-1"},
        "running": {"running-1", "service-1"},
        "waiting": {"queued-1"},
        "done": {"succeeded-1", "cancelled-1"},
    }
    assert tabs_of(html) == {"attention": "5", "running": "2", "waiting": "1", "done": "2"}


def test_tab_lists_the_jobs_of_its_group_on_pages(client):
    job_of_each_kind()
    for group, ids in groups_of(text_of(client, LIST)).items():
        html = text_of(client, f"{LIST}?group={group}")
        assert sorted(re.findall(r'data-job="([\w-]+)"', html)) == sorted(ids)
        assert groups_of(html) == {}
    for number in range(PAGE_SIZE):
        job_with(JobStatus.LOST, job_id=f"lost-{number + 2}")
    assert "group=attention&amp;cursor=" in text_of(client, f"{LIST}?group=attention")


def test_running_jobs_are_on_the_first_page_whatever_was_created_later(client):
    now = timezone.now()
    job_with(job_id="first", created_at=now - timedelta(hours=1))
    Job.objects.bulk_create(
        Job(id=f"job-{n}", created_at=now - timedelta(minutes=20) + timedelta(seconds=n))
        for n in range(2 * PAGE_SIZE)
    )
    html = text_of(client, LIST)
    assert groups_of(html)["running"] == ["first"]
    assert groups_of(html)["waiting"] == [f"job-{n}" for n in range(10)]  # those that start next
    assert f'href="{LIST}?group=waiting">Show all' in html


def test_waiting_jobs_have_their_position_in_the_whole_queue(client, django_user_model):
    anna = django_user_model.objects.create_user("anna")
    now = timezone.now()
    for number, fields in enumerate(
        [{}, {"priority": 5}, {"owner": anna}, {"queued_at": now}, {"retry_at": now}, {}]
    ):
        at = now - timedelta(minutes=9 - number)
        Job.objects.create(id=f"job-{number}", created_at=at, **fields)
    html = text_of(client, LIST)
    assert groups_of(html)["waiting"] == ["job-1", "job-0", "job-2", "job-5", "job-3", "job-4"]
    client.force_login(anna)
    own = text_of(client, f"{LIST}?owner=me")
    assert groups_of(own)["waiting"] == ["job-2"]
    assert "Number 3 in the queue" in own


def test_counts_stop_at_a_limit(client, monkeypatch):
    monkeypatch.setattr(RowCount, "limit", 3)
    for number in range(4):
        job_with(JobStatus.SUCCEEDED, job_id=f"job-{number}", failed_items=number == 3)
    job_with(JobStatus.QUEUED, job_id="queued")
    tabs = tabs_of(text_of(client, LIST))
    assert tabs == {"attention": "1", "running": "0", "waiting": "1", "done": "3+"}


@pytest.mark.parametrize(("status", "refreshes"), [("running", True), ("failed", False)])
def test_list_reloads_without_javascript_while_something_runs(client, status, refreshes):
    job_with(JobStatus(status))
    assert ('<noscript><meta http-equiv="refresh"' in text_of(client, LIST)) is refreshes


def test_script_gets_the_rows_without_the_messages_of_the_page(client):
    job_with(JobStatus.SUCCEEDED)
    client.post(cancellation_of("job-1"))
    parts = client.get(LIST, headers={"X-Requested-With": "fetch"})
    assert 'data-job="job-1"' in parts.content.decode()
    assert "<html" not in parts.content.decode()
    assert "X-Requested-With" in parts["Vary"]
    assert 'data-level="warning"' in text_of(client, LIST)


# Batches, search and order


def jobs_in(html: str) -> list[str]:
    return re.findall(r'data-job="([\w-]+)"', html)


def test_batch_is_one_row_that_leaves_its_running_and_failed_jobs_in_the_list(client):
    create_batch(batch_id="b-1", name="Contracts 2025")
    for status in JobStatus:
        job_with(status, job_id=f"of-batch-{status}", batch="b-1")
        job_with(status, job_id=f"single-{status}")
    html = text_of(client, LIST)
    row = re.search(r'<li class="job batch-row" data-key="batch b-1".*?</li>', html, re.DOTALL)[0]
    assert f'href="{LIST}?batch=b-1" title="Contracts 2025"' in row
    text = "1 succeeded · 1 cancelled · 1 failed · 1 lost · 1 running · 1 waiting"
    assert f'<span class="job-note">{text}</span>' in row
    assert re.findall(r'data-part-of-bar="(\w+)" x="(\d)" width="1"', row)[-1] == ("queued", "5")
    shown = groups_of(html)
    assert set(shown["running"]) == {"of-batch-running", "single-running"}
    assert {"of-batch-failed", "of-batch-lost"} <= set(shown["attention"])
    assert shown["waiting"] == ["single-queued"]
    assert set(shown["done"]) == {"single-succeeded", "single-cancelled"}
    assert tabs_of(html)["done"] == "4"


def test_waiting_jobs_of_batches_are_named_when_no_other_waits(client):
    job_with(JobStatus.QUEUED, batch="b-1")
    assert "All of them belong to a batch above." in text_of(client, LIST)


def test_only_the_newest_batches_have_a_row(client):
    now = timezone.now()
    for number in range(7):
        job_with(
            job_id=f"job-{number}", batch=f"b-{number}", created_at=now - timedelta(hours=number)
        )
    rows = re.findall(r'data-key="batch (b-\d)"', text_of(client, LIST))
    assert rows == [f"b-{number}" for number in range(MAX_BATCHES)]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=dark-mode", {"old"}),  # a part of the name
        ("q=ol", set()),  # no part of an id
        ("q=old", {"old"}),
        ("q=b-1", {"new"}),
        ("q=REPORT", {"new", "mine"}),
        ("q=report&status=queued", {"new"}),
        ("q=report&group=running", {"mine"}),
        ("q=%00", {"old", "mine"}),
        ("owner=anna", {"mine"}),
        ("owner=nobody", set()),
        ("since=2026-01-02", {"new", "mine"}),
        ("until=2026-01-01", {"old"}),
        ("until=2026-02-30", {"old", "mine"}),
        ("since=0001-01-01", {"old", "new", "mine"}),
        ("since=9999-12-31", set()),
        ("until=0001-01-01", set()),
        ("until=9999-12-31", {"old", "new", "mine"}),
        ("since=2026-01-01&until=2026-01-01&status=failed", {"old"}),
    ],
)
def test_list_is_searched_by_name_id_batch_owner_and_day(client, django_user_model, query, found):
    anna = django_user_model.objects.create_user("anna")
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    job_with(JobStatus.FAILED, job_id="old", document_name="Dark-mode.pdf", created_at=at)
    Job.objects.filter(pk="old").update(started_at=at, document_id="")
    job_with(JobStatus.QUEUED, job_id="new", batch="b-1", document_id="")
    job_with(job_id="mine", owner=anna, document_id="")
    html = text_of(client, f"{LIST}?{query}")
    assert set(jobs_in(html)) == found
    assert found or "No job" in html


def test_order_and_search_stay_in_every_link_and_cursor_pages_go_on(client, monkeypatch):
    monkeypatch.setattr(RowCount, "limit", 2 * PAGE_SIZE)
    now = timezone.now()
    Job.objects.bulk_create(
        Job(id=f"job-{n}", document_name="Report", created_at=now + timedelta(seconds=n // 2))
        for n in range(60)
    )
    url, shown = f"{LIST}?q=report&sort=oldest", []
    while url:
        html = text_of(client, url)
        shown += jobs_in(html)
        assert f'href="{LIST}?q=report&amp;sort=oldest&amp;group=done"' in html
        older = re.search('rel="next" href="(.*?)"', html)
        url = LIST + unescape(older[1]) if older else ""
    assert len(shown) == len(set(shown)) == 60
    assert {int(job_id.split("-")[1]) // 2 for job_id in shown[:2]} == {0}
    assert shown == sorted(shown, key=lambda job_id: int(job_id.split("-")[1]) // 2)


def test_list_is_sorted_by_duration_and_by_name(client, monkeypatch):
    monkeypatch.setattr(job_search, "MAX_SEARCHED", 2 * PAGE_SIZE)
    at = timezone.now() - timedelta(days=1)
    names = [f"{'Bb'[n % 2]} {n:03}.pdf" for n in range(3 * PAGE_SIZE)]
    Job.objects.bulk_create(
        Job(id=f"job-{n}", document_name=name, status="succeeded",
            created_at=at - timedelta(seconds=n), started_at=at,
            finished_at=at + timedelta(seconds=n * 7 % 100))
        for n, name in enumerate(names)
    )  # fmt: skip
    job_with(JobStatus.RUNNING, job_id="runs", document_name="a.pdf")
    newest = range(2 * PAGE_SIZE - 1)  # and the one that runs
    expected = {
        "longest": [f"job-{n}" for n in sorted(newest, key=lambda n: -(n * 7 % 100))],
        "shortest": [f"job-{n}" for n in sorted(newest, key=lambda n: n * 7 % 100)],
        "name": ["runs", *(f"job-{n}" for n in newest)],
    }
    for sort, ids in expected.items():
        first = text_of(client, f"{LIST}?sort={sort}")
        assert f'<option value="{sort}" selected>' in first
        assert "Sorted among the newest" in first
        second = text_of(client, LIST + unescape(re.search('rel="next" href="(.*?)"', first)[1]))
        assert [*jobs_in(first), *jobs_in(second)] == ids
        assert 'rel="next"' not in second
        assert "Previous" in second
    assert set(jobs_in(text_of(client, f"{LIST}?sort=longest&group=running"))) == set()
    assert "No job matches" not in text_of(client, f"{LIST}?sort=nonsense")


def test_usual_order_is_not_in_the_address_and_keeps_the_groups(client):
    job_with()
    html = text_of(client, f"{LIST}?q=&status=&sort=newest&since=&until=&owner=")
    assert 'aria-labelledby="group-running"' in html
    assert '<option value="oldest" selected>' in text_of(client, f"{LIST}?group=waiting")


# The list of a batch


def test_list_of_a_batch_shows_only_its_jobs_and_names_it(client):
    job_with(job_id="mine", batch="import")
    job_with(job_id="other", batch="import-2")
    job_with(job_id="alone")
    html = text_of(client, f"{LIST}?batch=import")
    assert re.findall(r'data-job="([\w-]+)"', html) == ["mine"]
    assert "Only the jobs of the batch <bdi>import</bdi>." in html


def test_list_of_a_batch_polls_and_streams_only_that_batch(client):
    job_with(batch="a & b")
    html = text_of(client, f"{LIST}?batch=a+%26+b&status=running")
    assert 'progress?batch=a+%26+b"' in html
    assert f'data-poll="{LIST}?batch=a+%26+b&amp;status=running"' in html


def test_every_link_keeps_the_batch_except_the_one_to_all_batches(client):
    for number in range(PAGE_SIZE + 1):
        job_with(job_id=f"job-{number}", batch="a & b", status=JobStatus.FAILED)
    html = text_of(client, f"{LIST}?batch=a+%26+b&status=failed")
    assert 'href="?batch=a+%26+b&amp;status=failed&amp;cursor=' in html  # older
    assert f'href="{LIST}?batch=a+%26+b&amp;group=done"' in html
    assert f'href="{LIST}?batch=a+%26+b"' in html  # any status
    assert f'<a href="{LIST}?status=failed">Show jobs of all batches</a>' in html
    older = text_of(client, f"{LIST}?batch=a+%26+b&page=2")
    assert 'href="?batch=a+%26+b&amp;before=' in older
    assert older.count('class="job"') == 1


def test_empty_batch_is_explained_and_links_to_all_jobs(client):
    job_with()
    html = text_of(client, f"{LIST}?batch=nothing")
    assert "There is no job of this batch." in html
    assert f'<a href="{LIST}">Show all jobs</a>' in html


def test_batch_without_a_job_of_that_status_links_to_its_other_jobs(client):
    job_with(batch="import")
    html = text_of(client, f"{LIST}?batch=import&status=lost")
    assert "No job of this batch is lost." in html
    assert f'<a href="{LIST}?batch=import">Show all jobs of this batch</a>' in html


@pytest.mark.parametrize(
    ("query", "ignored"),
    [
        ("since=2026-02-31&until=soon", ["since=2026-02-31", "until=soon"]),
        ("status=failed,lost&sort=up&group=no", ["status=failed,lost", "group=no", "sort=up"]),
        ("status=failed&status=lost&group=done", ["status=failed", "group=done"]),
        ("status=partial&result=failed", ["result=failed"]),
        ("status=nonsense<b>" + "x" * 99, ["status=nonsense&lt;b&gt;" + "x" * 42]),
        ("status=partial&sort=newest&since=2026-1-2&q=%20&utm_source=mail", []),
        ("group=waiting&sort=oldest", []),
        ("result=partial&owner=me&batch=b", []),
    ],
)
def test_filters_that_are_not_valid_are_named(client, query, ignored):
    html = text_of(client, f"{LIST}?{query}")
    shown = re.findall(r'list-notice">(.*?)</p>', html)
    assert [each for note in shown for each in re.findall(r"<bdi>(.*?)</bdi>", note)] == ignored


@pytest.mark.parametrize("batch", ["\x00", "a/b", " a", "x" * 256])
def test_invalid_batch_name_is_a_page_with_404(client, django_assert_num_queries, batch):
    with django_assert_num_queries(0):
        response = client.get(LIST, {"batch": batch})
    assert response.status_code == 404
    assert "Batch not found" in response.content.decode()


def test_empty_batch_name_shows_all_jobs(client):
    job_with(batch="import")
    html = text_of(client, f"{LIST}?batch=")
    assert 'data-job="job-1"' in html
    assert "Only the jobs of the batch" not in html


@pytest.mark.parametrize("url", [f"{LIST}?batch=", page_of("job-1")])
def test_batch_name_is_escaped_in_text_and_in_links(client, url):
    batch = '"><script>alert(1)<&status=lost#%00'
    job_with(batch=batch)
    html = text_of(client, url + quote(batch) if url.endswith("=") else url)
    assert "<script>alert" not in html
    assert "<bdi>&quot;&gt;&lt;script&gt;alert" in html
    links = re.findall(r'href="[^"]*\?(batch=[^"]*)"', html)
    assert links
    assert all(parse_qs(unescape(link))["batch"] == [batch] for link in links)


def test_list_of_a_batch_has_no_upload_form(client):
    assert 'id="upload"' in text_of(client, LIST)
    assert "upload" not in text_of(client, f"{LIST}?batch=import")


# One job


def test_job_page_links_to_the_list_of_its_batch(client):
    job_with(batch="a & b")
    html = text_of(client, page_of("job-1"))
    assert f'href="{LIST}?batch=a%20%26%20b"><span>Batch <bdi>a &amp; b</bdi></span></a>' in html


def test_page_of_a_job_without_a_batch_names_none(client):
    job_with()
    assert "?batch=" not in text_of(client, page_of("job-1"))


@pytest.mark.parametrize("status", JobStatus)
def test_job_page_makes_a_fixed_number_of_queries(client, django_assert_num_queries, status):
    job_with(status)
    with django_assert_num_queries(9):  # the last two look for the document
        client.get(page_of("job-1"))


def test_job_page_is_complete_without_javascript(client):
    job_with(total_chunks=4800, entities_total=1234567, counters={"tables": 4}, queue_depth=17)
    html = text_of(client, page_of("job-1"))
    for text in (
        "report.pdf", "Running", "1,200 of 4,800 pages", "chunk-2", "1 of 3 busy", "17 waiting",
        "1,234,567", "Tables", "A warning line", "1\u00a0min\u00a015\u00a0s",
    ):  # fmt: skip
        assert text in html


def test_page_of_a_finished_job_neither_reloads_nor_offers_cancellation(client):
    job_with(JobStatus.SUCCEEDED)
    html = text_of(client, page_of("job-1"))
    assert "http-equiv" not in html
    assert "cancellation" not in html


def test_page_of_an_unfinished_job_reloads_without_javascript_and_offers_cancellation(client):
    job_with()
    html = text_of(client, page_of("job-1"))
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in html
    assert f'action="{cancellation_of("job-1")}"' in html


@pytest.mark.parametrize(
    ("status", "fields", "notice"),
    [
        (JobStatus.QUEUED, {}, "liveness-queued"),
        (JobStatus.QUEUED, {"created_at": timedelta(minutes=10)}, "liveness-starved"),
        (JobStatus.RUNNING, {}, "liveness-working"),
        (JobStatus.RUNNING, {"updated_at": timedelta(minutes=10)}, "liveness-stalled"),
        (JobStatus.RUNNING, {"heartbeat_at": timedelta(minutes=10)}, "liveness-lost"),
        (JobStatus.RUNNING, {"cancel_requested_at": timedelta()}, "stopping"),
        (JobStatus.SUCCEEDED, {}, "succeeded"),
        (JobStatus.FAILED, {}, "failed"),
        (JobStatus.CANCELLED, {}, "cancelled"),
        (JobStatus.LOST, {}, "lost"),
    ],
)
def test_page_shows_the_one_notice_of_the_jobs_state(client, status, fields, notice):
    now = timezone.now()
    job_with(status, **{name: now - ago for name, ago in fields.items()})
    assert visible_notice(text_of(client, page_of("job-1"))) == notice


def test_a_job_that_waits_for_a_service_names_it_on_its_page_and_in_the_list(client):
    job_with(JobStatus.RUNNING, waiting_for="the model at <b>.example.org")
    html = text_of(client, page_of("job-1"))
    assert visible_notice(html) == "waiting"
    assert "the model at &lt;b&gt;.example.org" in html
    assert "Waiting for the model at &lt;b&gt;.example.org" in text_of(client, LIST)


def test_page_of_a_waiting_job_names_the_worker_command_of_an_installed_app(client, settings):
    job_with(JobStatus.QUEUED, created_at=timezone.now() - timedelta(minutes=10))
    assert "<code>manage.py ingestion_worker</code>" in text_of(client, page_of("job-1"))
    settings.INSTALLED_APPS = [
        app for app in settings.INSTALLED_APPS if app != "ingestion_progress.pipeline"
    ]
    html = text_of(client, page_of("job-1"))
    assert "No worker has taken the job yet." in html
    assert "manage.py" not in html


@pytest.mark.parametrize(
    ("stages", "fields", "hidden"),
    [
        (["reading"], {}, 6),
        (["reading"], {"entities_total": 1}, 0),
        (["parsing"], {}, 0),
    ],
)
def test_metrics_that_another_kind_of_job_never_counts_are_hidden(client, stages, fields, hidden):
    queue_job("a.csv", job_id="job-1", stages=stages)
    Job.objects.update(**fields)
    html = text_of(client, page_of("job-1"))
    assert len(re.findall(r'data-metric="\w+" hidden', html)) == hidden


def test_page_of_a_failed_job_shows_its_error(client):
    job_with(JobStatus.FAILED, error="Qdrant did not answer. Is it running?")
    assert "Qdrant did not answer. Is it running?" in text_of(client, page_of("job-1"))


def test_stalled_job_has_no_estimate(client):
    job = job_with(reached_percent=50)
    assert "about 1\u00a0min" in text_of(client, page_of("job-1"))
    job.updated_at -= timedelta(minutes=10)
    job.save()
    assert " left" not in text_of(client, page_of("job-1"))


def test_stage_of_unknown_total_has_no_percentage(client):
    job_with().stages.update(total=0)
    html = text_of(client, page_of("job-1"))
    assert re.search(
        r'<progress class="visually-hidden" max="100" aria-label="In progress stage"></', html
    )


def test_unit_of_one_is_singular(client):
    job_with().stages.update(processed=1, total=1)
    html = text_of(client, page_of("job-1"))
    for text in (">1 page<", ">1 of 1 page<", ">1 page to do<", ">Stopped at 1 of 1 page<"):
        assert text in html


def test_pages_show_the_error_count_of_a_succeeded_job(client):
    job_with(JobStatus.SUCCEEDED, error_count=2)
    assert "Errors during ingestion: 2" in text_of(client, page_of("job-1"))
    assert "Errors during ingestion: 2" in text_of(client, LIST)


def test_success_with_failed_items_says_so_in_list_and_page(client):
    job_with(JobStatus.SUCCEEDED, failed_items=20)
    for url in (LIST, page_of("job-1"), f"{LIST}?result=partial"):
        html = text_of(client, url)
        assert 'data-result="partial"' in html
        assert 'data-field="job.status">Succeeded with 20 errors<' in html


def test_failed_items_of_a_job_that_did_not_succeed_are_not_in_its_badge(client):
    job_with(JobStatus.FAILED, failed_items=20)
    html = text_of(client, page_of("job-1"))
    assert 'data-result=""' in html
    assert 'data-field="job.status">Failed<' in html


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("result=partial", {"partial"}),
        ("result=succeeded", {"whole"}),
        ("status=succeeded", {"partial", "whole"}),
        ("status=succeeded&result=partial", {"partial", "whole"}),  # the link of a status wins
        ("result=odd", {"partial", "whole", "failed"}),
    ],
)
def test_list_is_filtered_by_result(client, query, found):
    job_with(JobStatus.SUCCEEDED, job_id="whole")
    job_with(JobStatus.SUCCEEDED, job_id="partial", failed_items=2)
    job_with(JobStatus.FAILED, job_id="failed", failed_items=2)
    html = text_of(client, f"{LIST}?{query}")
    assert set(re.findall(r'data-job="([\w-]+)"', html)) == found


def test_list_without_partial_successes_says_so(client):
    assert "No job succeeded with errors." in text_of(client, f"{LIST}?result=partial")


def test_log_shows_the_newest_lines_and_their_total_number(client):
    job = job_with(event_count=EVENTS_SHOWN + 10)
    for number in range(EVENTS_SHOWN + 7):
        JobEvent.objects.create(job=job, attempt=1, message=f"line {number};")
    html = text_of(client, page_of("job-1"))
    assert html.count('class="log-entry"') == EVENTS_SHOWN + 1  # and an empty one to copy
    assert f"line {EVENTS_SHOWN + 6};" in html
    assert "line 0;" not in html
    assert f"The newest {EVENTS_SHOWN} of {EVENTS_SHOWN + 10}" in html


def test_log_goes_on_in_the_next_attempt(client):
    job = job_with(attempt=2)
    JobEvent.objects.create(job=job, attempt=1, message="long ago")
    assert "long ago" in text_of(client, page_of("job-1"))


@pytest.mark.parametrize("url", [LIST, page_of("job-1")])
def test_document_name_is_escaped_and_isolated(client, url):
    job_with(document_name="\u202egnp.<script>alert(1)</script>\"'")
    html = text_of(client, url)
    assert "<script>alert" not in html
    assert re.search(r"<bdi[^>]*>(<span[^>]*>)?\u202egnp\.&lt;script&gt;", html)


@pytest.mark.parametrize(
    "job_id", ["nobody", "%00", "%0A", "a" * 300, "%F0%9F%A6%8A", "%2e%2e", "<b>", "%27--"]
)
def test_missing_job_is_a_page_with_404(client, job_id):
    html = text_of(client, f"/jobs/{job_id}/", status=404)
    assert "Job not found" in html
    assert "<b>" not in html


# Owners


def test_page_names_who_owns_started_and_cancelled_a_job_and_shows_its_metadata(client):
    job = queue_job(
        "a.pdf",
        job_id="a",
        owner=User.objects.create_user("anna"),
        metadata={"n": 3, "team": "<b>"},
    )
    request_cancellation("a", by="bert")
    html = unescape(text_of(client, reverse("ingestion_progress:job_detail", args=[job.pk])))
    for term, value in {"Owner": "anna", "Started by": "anna", "Cancelled by": "bert"}.items():
        assert f"<dt>{term}</dt><dd><bdi>{value}</bdi></dd>" in html
    assert "<dt><bdi>n</bdi></dt><dd><code><bdi>3</bdi></code></dd>" in html
    assert "<dt><bdi>team</bdi></dt>" in html
    assert "<b></bdi>" not in text_of(
        client, reverse("ingestion_progress:job_detail", args=[job.pk])
    )


def test_list_offers_the_jobs_of_the_user_who_is_logged_in(client):
    anna = User.objects.create_user("anna")
    queue_job("a.pdf", job_id="mine", owner=anna)
    queue_job("b.pdf", job_id="other")
    assert ">Mine<" not in text_of(client, LIST)
    client.force_login(anna)
    assert 'href="/?owner=me"><span>Mine</span></a>' in text_of(client, LIST)
    html = text_of(client, f"{LIST}?owner=me")
    assert re.findall(r'data-job="([\w-]+)"', html) == ["mine"]
    assert "owner=me" in html.split("data-poll=")[1].split(">")[0]
    assert "No job of yours is lost." in text_of(client, f"{LIST}?owner=me&status=lost")


def test_page_of_a_job_shows_the_key_of_an_object_that_cannot_be_shown(client, monkeypatch):
    group = Group.objects.create(name="Buyers")
    queue_job("a.pdf", job_id="job-1", about=group)
    assert "Buyers" in text_of(client, page_of("job-1"))
    monkeypatch.setattr(Group, "get_absolute_url", lambda each: reverse("gone"), raising=False)
    assert f"auth.group {group.pk}" in text_of(client, page_of("job-1"))
