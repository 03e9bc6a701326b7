"""The JSON API of jobs, through Django's own client on a real database."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from ingestion_progress import track
from ingestion_progress.api.job_list import OTHER_ORDER
from ingestion_progress.api.pages import MAX_OFFSET
from ingestion_progress.auth import tokens
from ingestion_progress.models import Job, JobEvent
from ingestion_progress.models.job_orders import JobOrder
from ingestion_progress.models.pagination import INVALID_CURSOR, RowCount
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import queue_job
from tests.support.api import JOBS, refusal

pytestmark = [pytest.mark.django_db, pytest.mark.database]

HOSTILE_IDS = [
    "nobody",
    "..%2Fetc%2Fpasswd",
    "a%00b",
    "%F0%9F%98%80",
    "%E2%80%AEabc",
    "%0A",
    "x" * 300,
    "' OR 1=1 --",
    "%",
    "{{7*7}}",
    "%ED%A0%80",
    "a%2Fb",
]


@pytest.fixture
def running_job():
    """A job with 3 of 4 pages done and the images skipped."""
    with synchronous_tracking():
        context = track("report.pdf", job_id="running", document_id="doc", workers=2)
        job = context.__enter__()
        with job.stage("parsing", total=4, unit="pages") as stage:
            stage.advance(3)
            stage.record_error("Page 4 has no text layer", item="page 4")
            job.skip("vlm", "no images")
            job.flush()
            yield job
        context.__exit__(None, None, None)


class TestList:
    def test_jobs_of_a_batch_are_listed_by_its_name(self, client):
        for job_id, batch in (("a", "import-7"), ("b", None), ("c", "import-7"), ("d", "other")):
            queue_job(f"{job_id}.pdf", job_id=job_id, batch=batch)
        body = client.get(JOBS, {"batch": "import-7", "status": "queued"}).json()
        assert sorted(item["job_id"] for item in body["items"]) == ["a", "c"]
        assert {item["batch"] for item in body["items"]} == {"import-7"}
        assert body["total"] == 2
        assert client.get(f"{JOBS}/b").json()["batch"] is None

    def test_newest_job_is_first(self, client):
        now = timezone.now()
        for age, job_id in enumerate(["new", "old", "older"]):
            queue_job(f"{job_id}.pdf", job_id=job_id)
            Job.objects.filter(pk=job_id).update(created_at=now - timedelta(minutes=age))
        body = client.get(JOBS).json()
        assert [item["job_id"] for item in body["items"]] == ["new", "old", "older"]
        assert {key: body[key] for key in ("total", "limit", "offset")} == {
            "total": 3,
            "limit": 50,
            "offset": 0,
        }

    def test_item_has_the_progress_and_the_links_of_a_job(self, client, running_job):
        (item,) = client.get(JOBS).json()["items"]
        assert item["document_name"] == "report.pdf"
        assert (item["status"], item["liveness"], item["error_count"]) == ("running", "working", 1)
        assert (item["result"], item["failed_items"]) == (None, 1)
        assert 0 < item["overall_progress_percent"] < 100
        assert item["links"] == {
            "job": f"{JOBS}/running",
            "progress": f"{JOBS}/running/progress",
            "snapshot": f"{JOBS}/running/snapshot",
            "events": f"{JOBS}/running/events",
            "errors": f"{JOBS}/running/errors",
            "cancellation": f"{JOBS}/running/cancellation",
            "retry": f"{JOBS}/running/retry",
            "page": "/jobs/running/",
        }

    @pytest.mark.parametrize("query", ["status=failed&status=queued", "status=failed,queued"])
    def test_statuses_are_repeated_or_a_comma_list(self, client, query):
        for status in ("queued", "cancelled"):
            queue_job("a.pdf", job_id=status)
        client.post(f"{JOBS}/cancelled/cancellation")
        body = client.get(f"{JOBS}?{query}").json()
        assert [item["job_id"] for item in body["items"]] == ["queued"]
        assert body["total"] == 1

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("result=partial", ["partial"]),
            ("result=succeeded", ["whole"]),
            ("result=succeeded,partial", ["partial", "whole"]),
            ("result=failed&result=partial", ["broken", "partial"]),
            ("result=partial&status=failed", []),
        ],
    )
    def test_success_with_failed_items_is_a_result_of_its_own(self, client, query, found):
        with synchronous_tracking():
            for job_id in ("whole", "partial", "broken"):
                with track("a.pdf", job_id=job_id, stages=["one"]) as job:
                    if job_id != "whole":
                        job.stage("one").record_error("odd")
                    if job_id == "broken":
                        job.fail("odd")
        items = client.get(f"{JOBS}?{query}").json()["items"]
        assert sorted(item["job_id"] for item in items) == found
        assert all(item["result"] in query for item in items)

    def test_pages_do_not_overlap(self, client):
        for number in range(5):
            queue_job("a.pdf", job_id=f"job-{number}")
        pages = [client.get(f"{JOBS}?limit=2&offset={offset}").json() for offset in (0, 2, 4)]
        ids = [item["job_id"] for page in pages for item in page["items"]]
        assert sorted(ids) == [f"job-{number}" for number in range(5)]
        assert [page["total"] for page in pages] == [5, 5, 5]

    def test_cursor_leads_to_jobs_of_any_age_and_total_is_a_lower_bound(self, client, monkeypatch):
        monkeypatch.setattr(RowCount, "limit", 3)
        for number in range(5):
            queue_job("a.pdf", job_id=f"job-{number}", batch="b")
        pages = [client.get(JOBS, {"limit": 2, "batch": "b"}).json()]
        while cursor := pages[-1]["next_cursor"]:
            query = {"limit": 2, "batch": "b", "cursor": cursor}
            pages.append(client.get(JOBS, query).json())
        ids = [item["job_id"] for page in pages for item in page["items"]]
        assert sorted(ids) == [f"job-{number}" for number in range(5)]
        assert {(page["total"], page["is_total_exact"]) for page in pages} == {(3, False)}
        few = client.get(JOBS, {"batch": "other"}).json()
        assert (few["total"], few["is_total_exact"], few["next_cursor"]) == (0, True, None)

    def test_jobs_are_sorted_as_on_the_pages(self, client):
        now = timezone.now()
        for number, (name, seconds) in enumerate([("b", 9), ("A", 100), ("c", 80), ("B", None)]):
            end = None if seconds is None else now + timedelta(seconds=seconds)
            Job.objects.create(
                id=name, document_name=name, created_at=now + timedelta(seconds=number),
                started_at=now, finished_at=end, status="succeeded" if end else "running",
            )  # fmt: skip
        found = {
            sort: [each["job_id"] for each in client.get(f"{JOBS}?sort={sort}").json()["items"]]
            for sort in JobOrder.values
        }
        assert found == {
            "newest": ["B", "c", "A", "b"],
            "oldest": ["b", "A", "c", "B"],
            "longest": ["A", "c", "b"],
            "shortest": ["b", "c", "A"],
            "name": ["A", "B", "b", "c"],
        }
        pages = [client.get(f"{JOBS}?sort=longest&limit=2&offset={each}").json() for each in (0, 2)]
        assert [len(page["items"]) for page in pages] == [2, 1]
        assert [(page["total"], bool(page["next_cursor"])) for page in pages] == [
            (3, True), (3, False),
        ]  # fmt: skip
        oldest = client.get(f"{JOBS}?sort=oldest&limit=3").json()
        rest = client.get(f"{JOBS}?sort=oldest&cursor={oldest['next_cursor']}").json()
        assert [each["job_id"] for each in rest["items"]] == ["B"]

    def test_cursors_lead_through_every_order_while_jobs_end_and_go(self, client):
        now = timezone.now()
        for number in range(9):
            Job.objects.create(
                id=f"job-{number}", document_name=["", "é.pdf", "Ärger"][number % 3],
                document_id=f"d{number}", created_at=now, status="succeeded", started_at=now,
                finished_at=now + timedelta(seconds=number % 4),
            )  # fmt: skip
        for sort in JobOrder.values:
            everything = client.get(f"{JOBS}?sort={sort}").json()["items"]
            first = client.get(f"{JOBS}?sort={sort}&limit=4").json()
            # It becomes both the first and the last of some order, or has no place any more.
            Job.objects.filter(id=first["items"][0]["job_id"]).update(
                document_name="", finished_at=now + timedelta(seconds=99)
            )
            Job.objects.get(id=first["items"][3]["job_id"]).delete()
            query = {"sort": sort, "cursor": first["next_cursor"]}
            rest = client.get(JOBS, query).json()["items"]
            moved = first["items"][0]["job_id"]
            shown = [each["job_id"] for each in rest if each["job_id"] != moved]
            assert shown == [each["job_id"] for each in everything[4:]], sort
            Job.objects.create(
                id=first["items"][3]["job_id"], created_at=now, status="succeeded",
                started_at=now, finished_at=now,
            )  # fmt: skip

    @pytest.mark.parametrize(
        ("sort", "cursor"),
        [
            ("name", f"{10**15}-a"),
            ("longest", f"nYQ.{10**15}-a"),
            ("newest", f"d{10**15}.{10**15}-a"),
            ("", f"nYQ.{10**15}-a"),
        ],
    )
    def test_cursor_of_another_order_is_refused(self, client, sort, cursor):
        query = {"sort": sort, "cursor": cursor} if sort else {"cursor": cursor}
        error = refusal(client.get(JOBS, query), 422, "invalid_request")
        assert error.message == f"sort: {OTHER_ORDER}"
        refusal(client.get(f"{JOBS}?sort=random"), 422, "invalid_request")

    @pytest.mark.parametrize(
        "cursor",
        [
            f"nAA.{10**15}-a",  # NUL
            f"n_w.{10**15}-a",  # not UTF-8
            f"na.{10**15}-a",  # not base64
            f"n{'YWFh' * 90}.{10**15}-a",  # longer than a name
            f"d{10**15}.{10**15}-a/b",
        ],
    )
    def test_cursor_that_no_order_has_is_refused(self, client, cursor):
        query = {"sort": "name" if cursor[0] == "n" else "longest", "cursor": cursor}
        error = refusal(client.get(JOBS, query), 422, "invalid_request")
        assert error.message == f"cursor: {INVALID_CURSOR}"

    def test_large_offset_is_refused_with_the_alternative(self, client):
        assert client.get(JOBS, {"offset": MAX_OFFSET}).status_code == 200
        error = refusal(client.get(JOBS, {"offset": MAX_OFFSET + 1}), 422, "invalid_request")
        assert error.message == (
            "offset: At most 10,000: send next_cursor of the last page as cursor to go on."
        )

    def test_number_of_queries_does_not_depend_on_number_of_jobs(
        self, client, django_assert_num_queries
    ):
        for number in range(12):
            queue_job("a.pdf", job_id=f"job-{number}")
        with django_assert_num_queries(3):  # jobs, stages, count: none for thousands of workers
            assert len(client.get(f"{JOBS}?limit=1000").json()["items"]) == 12

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=many", "limit"),
            ("offset=-1", "offset"),
            ("offset=99999999999999999999", "offset"),
            ("cursor=job-1", "cursor"),
            ("cursor=1-a%00b", "cursor"),
            ("status=done", "status.0"),
            ("result=running", "result.0"),
            ("status=", "status.0"),
            ("status=queued,%00", "status.1"),
            ("batch=a%00b", "batch"),
            ("batch=a/b", "batch"),
            (f"batch={'x' * 256}", "batch"),
        ],
    )
    def test_invalid_parameters_are_named(self, client, query, field):
        error = refusal(client.get(f"{JOBS}?{query}"), 422, "invalid_request")
        assert [entry.field for entry in error.errors] == [field]
        assert error.message.startswith(f"{field}: ")


class TestDetail:
    def test_detail_has_the_data_of_the_stream(self, client, running_job):
        body = client.get(f"{JOBS}/running").json()
        assert body["progress"]["stages"]["parsing"]["processed"] == 3
        assert "vlm" not in body["progress"]["stages"]
        assert body["state"]["skipped_stages"] == ["vlm"]
        assert body["state"]["status"] == body["status"] == "running"

    @pytest.mark.parametrize("job_id", HOSTILE_IDS)
    @pytest.mark.parametrize(
        "tail", ["", "/snapshot", "/events", "/errors", "/cancellation", "/retry"]
    )
    def test_unknown_id_is_not_found(self, client, job_id, tail):
        method = "POST" if tail in {"/cancellation", "/retry"} else "GET"
        refusal(client.generic(method, f"{JOBS}/{job_id}{tail}"), 404, "not_found")
        if not tail:
            refusal(client.delete(f"{JOBS}/{job_id}"), 404, "not_found")

    @pytest.mark.parametrize("job_id", ["Ærø 100%", "a?b#c", "😀", "a+b&c=d", "%2F", "50%25"])
    def test_links_of_an_odd_id_lead_to_its_job(self, client, job_id):
        queue_job("a.pdf", job_id=job_id)
        (item,) = client.get(JOBS).json()["items"]
        assert client.get(item["links"]["job"]).json()["job_id"] == job_id
        assert client.get(item["links"]["snapshot"]).status_code == 200


class TestSnapshot:
    def test_it_is_exactly_the_progress_object(self, client, running_job):
        body = client.get(f"{JOBS}/running/snapshot").json()
        assert list(body) == [
            "document_id",
            "document_name",
            "total_chunks",
            "total_images",
            "stages",
            "worker_pool",
            "metrics",
            "timing",
            "overall_progress_percent",
        ]
        assert body["document_id"] == "doc"

    def test_unchanged_job_is_304_for_one_query(
        self, client, running_job, django_assert_num_queries
    ):
        first = client.get(f"{JOBS}/running/snapshot")
        assert first["Cache-Control"] == "no-cache"
        with django_assert_num_queries(1):
            second = client.get(
                f"{JOBS}/running/snapshot", headers={"If-None-Match": first["ETag"]}
            )
        assert second.status_code == 304
        assert second.content == b""
        assert second["ETag"] == first["ETag"]

    def test_etag_changes_with_every_write(self, client, running_job):
        first = client.get(f"{JOBS}/running/snapshot")
        running_job.count(entities_total=1)
        running_job.flush()
        second = client.get(f"{JOBS}/running/snapshot", headers={"If-None-Match": first["ETag"]})
        assert second.status_code == 200
        assert second.json()["metrics"]["entities_total"] == 1
        assert second["ETag"] != first["ETag"]

    @pytest.mark.parametrize("etag", ["nonsense", '"', 'W/"other-1"', "\x00", ""])
    def test_unknown_etag_gets_the_full_state(self, client, running_job, etag):
        response = client.get(f"{JOBS}/running/snapshot", headers={"If-None-Match": etag})
        assert response.status_code == 200

    def test_head_has_the_headers_without_the_body(self, client, running_job):
        response = client.head(f"{JOBS}/running/snapshot")
        assert (response.status_code, response.content) == (200, b"")
        assert response["ETag"].startswith('W/"')


class TestEvents:
    def test_log_is_in_order_and_filtered_by_level(self, client, running_job):
        body = client.get(f"{JOBS}/running/events").json()
        ids = [event["id"] for event in body["items"]]
        assert ids == sorted(ids)
        assert body["total"] == len(ids) == JobEvent.objects.count()
        (error,) = client.get(f"{JOBS}/running/events?level=error").json()["items"]
        assert (error["stage"], error["item"]) == ("parsing", "page 4")
        assert error["message"] == "Page 4 has no text layer"

    def test_log_has_pages(self, client, running_job):
        everything = client.get(f"{JOBS}/running/events").json()
        page = client.get(f"{JOBS}/running/events?limit=1&offset=1").json()
        assert page["items"] == everything["items"][1:2]
        assert page["total"] == everything["total"] > 1

    @pytest.mark.parametrize(
        ("query", "lines"),
        [
            ("after=2", [3, 4, 5]),
            ("before=4", [1, 2, 3]),
            ("after=1&before=4", [2, 3]),
            ("newest=true&limit=2", [4, 5]),
            ("newest=true&limit=2&before=4", [2, 3]),
            ("limit=2&after=2", [3, 4]),
            ("search=PAGE 4", [4]),
            ("search=line 3", [3]),
            ("search=100%25", []),
            ("search=line&level=error&newest=true", [5]),
        ],
    )
    def test_log_is_read_from_either_end_and_searched(self, client, query, lines):
        job = Job.objects.create(id="log")
        rows = [
            JobEvent.objects.create(
                job=job,
                attempt=1,
                level="error" if number == 5 else "info",
                item=f"page {number}" if number == 4 else "",
                message=f"line {number}",
            )
            for number in range(1, 6)
        ]
        first = rows[0].pk
        numbered = re.compile(r"(after|before)=(\d)")
        query = numbered.sub(lambda at: f"{at[1]}={first + int(at[2]) - 1}", query)
        found = client.get(f"{JOBS}/log/events?{query}").json()["items"]
        assert [event["message"] for event in found] == [f"line {number}" for number in lines]

    def test_unknown_level_is_named(self, client, running_job):
        refusal(client.get(f"{JOBS}/running/events?level=loud"), 422, "invalid_request")


class TestCancellation:
    def test_queued_job_is_cancelled_immediately(self, client):
        queue_job("a.pdf", job_id="waiting")
        response = client.post(f"{JOBS}/waiting/cancellation")
        assert response.status_code == 202
        assert response.json()["status"] == "cancelled"

    def test_cancellation_of_a_running_job_is_requested(self, client, running_job):
        response = client.post(f"{JOBS}/running/cancellation")
        assert (response.status_code, response.json()["status"]) == (202, "running")
        assert client.get(f"{JOBS}/running").json()["state"]["cancel_requested"] is True

    def test_finished_job_is_a_conflict(self, client):
        queue_job("a.pdf", job_id="over")
        client.post(f"{JOBS}/over/cancellation")
        refusal(client.post(f"{JOBS}/over/cancellation"), 409, "job_finished")


class TestDeletion:
    def test_finished_job_is_deleted_with_its_log(self, client):
        queue_job("a.pdf", job_id="over")
        client.post(f"{JOBS}/over/cancellation")
        response = client.delete(f"{JOBS}/over")
        assert (response.status_code, response.content) == (204, b"")
        assert not Job.objects.exists()
        assert not JobEvent.objects.exists()
        refusal(client.delete(f"{JOBS}/over"), 404, "not_found")

    def test_running_job_is_a_conflict(self, client, running_job):
        refusal(client.delete(f"{JOBS}/running"), 409, "job_running")
        assert Job.objects.get().status == JobStatus.RUNNING


def test_dates_are_utc_with_a_zone(client):
    queue_job("a.pdf", job_id="a")
    body = json.loads(client.get(f"{JOBS}/a").content)
    assert body["created_at"].endswith("Z")
    assert body["started_at"] is body["finished_at"] is None


class TestOwners:
    @pytest.fixture
    def anna(self, client):
        anna = User.objects.create_user("anna")
        queue_job("a.pdf", job_id="a", owner=anna, metadata={"team": "legal"})
        queue_job("b.pdf", job_id="b")
        return anna

    def listed(self, client, owner):
        body = client.get(JOBS, {"owner": owner}).json()
        assert body["total"] == len(body["items"])
        return [item["job_id"] for item in body["items"]]

    def test_a_job_names_its_owner_and_has_its_metadata(self, client, anna):
        job = client.get(f"{JOBS}/a").json()
        assert job["owner"] == {"id": str(anna.pk), "name": "anna"}
        assert (job["metadata"], job["started_by"]) == ({"team": "legal"}, "anna")
        job = client.get(f"{JOBS}/b").json()
        assert (job["owner"], job["metadata"], job["started_by"]) == (None, {}, "")

    def test_jobs_are_listed_by_owner(self, client, anna):
        assert self.listed(client, anna.pk) == ["a"]
        assert self.listed(client, "me") == []
        client.force_login(anna)
        assert self.listed(client, "me") == ["a"]

    def test_the_owner_of_a_token_is_the_user_who_got_it(self, client, anna):
        token, _ = tokens.issue(None, issuer_id=str(anna.pk))
        header = {"authorization": f"Bearer {token}"}
        body = client.get(JOBS, {"owner": "me"}, headers=header).json()
        assert [item["job_id"] for item in body["items"]] == ["a"]

    @pytest.mark.parametrize("owner", ["nobody", "-1", "9" * 40, "\x00"])
    def test_a_key_that_no_user_has_finds_nothing(self, client, anna, owner):
        assert self.listed(client, owner) == []

    def test_attempts_name_who_started_and_cancelled_them(self, client, settings, anna):
        settings.INGESTION_PROGRESS_PUBLIC = False
        Job.objects.filter(pk="a").update(task="shop.tasks.ingest")
        client.force_login(User.objects.create_superuser("bert"))
        client.post(f"{JOBS}/a/cancellation")
        client.post(f"{JOBS}/a/retry", content_type="application/json")
        job = client.get(f"{JOBS}/a").json()
        assert job["started_by"] == "bert"
        (attempt,) = job["attempts"]
        assert (attempt["started_by"], attempt["cancelled_by"]) == ("anna", "bert")
