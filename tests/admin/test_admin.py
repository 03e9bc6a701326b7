from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import DateTimeField
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import ingestion_progress
from ingestion_progress.admin.inlines import MAX_ROWS
from ingestion_progress.models import Job, JobError, JobEvent, Stage, Worker, job_search
from ingestion_progress.models.statuses import (
    EventLevel,
    JobStatus,
    Liveness,
    StageStatus,
    WorkerStatus,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LIST = reverse("admin:ingestion_progress_job_changelist")
APP = Path(ingestion_progress.__file__).parent


def page(job: Job, name: str = "change") -> str:
    return reverse(f"admin:ingestion_progress_job_{name}", args=[job.pk])


def make_job(job_id: str = "job-1", status: JobStatus = JobStatus.RUNNING, **fields) -> Job:
    now = timezone.now()
    started = {} if status is JobStatus.QUEUED else {"started_at": now - timedelta(seconds=65)}
    ended = {"finished_at": now} if status.is_final else {"heartbeat_at": now}
    job = Job.objects.create(
        id=job_id,
        **{
            "document_id": f"doc-{job_id}"[:255],
            "document_name": f"{job_id}.pdf"[-255:],
            "status": status,
        }
        | started
        | ended
        | fields,
    )
    Stage.objects.create(
        job=job,
        name="parsing",
        position=0,
        weight=1,
        status=StageStatus.COMPLETED,
        processed=12,
        total=12,
        unit="pages",
        started_at=now,
        finished_at=now,
    )
    Stage.objects.create(
        job=job,
        name="extraction",
        position=1,
        weight=1,
        status=StageStatus.IN_PROGRESS,
        processed=8,
        total=32,
        in_flight=2,
        unit="chunks",
        started_at=now,
    )
    return job


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("staff", is_staff=True)
    content_type = ContentType.objects.get_for_model(Job)
    user.user_permissions.set(
        Permission.objects.filter(content_type=content_type, codename__in=permissions)
    )
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def viewer(db) -> Client:
    """A member of staff with only the permission to view jobs."""
    return staff("view_job")


def act(client: Client, action: str, *jobs: Job, **more: str):
    data = {"action": action, "_selected_action": [job.pk for job in jobs], **more}
    return client.post(LIST, data, follow=True)


# The list


def test_list_shows_status_and_progress_of_each_job(admin_client: Client) -> None:
    make_job(error_count=3)
    html = admin_client.get(LIST).content.decode()
    assert "job-1.pdf" in html
    assert ">Running</span>" in html
    assert '<progress max="100" value="62.5" aria-label="Progress of job-1.pdf">' in html
    assert "62.5%" in html
    assert "Extraction 8/32" in html
    assert "1\xa0min\xa005\xa0s" in html
    assert 'data-cell="errors">3</span>' in html


def test_percentage_and_bar_are_html_numbers_in_every_locale(admin_client, settings) -> None:
    settings.LANGUAGE_CODE = "de"
    make_job()
    assert 'value="62.5"' in admin_client.get(LIST).content.decode()


def test_list_costs_the_same_queries_for_1_job_and_for_100(admin_client: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert admin_client.get(LIST, {"all": ""}).status_code == 200
        return len(captured)

    make_job("first")
    admin_client.get(LIST)
    few = queries()
    for number in range(99):
        make_job(f"job-{number}")
    assert queries() == few
    assert few <= 10


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "alpha"}, {"alpha"}),
        ({"q": "doc-beta"}, {"beta"}),
        ({"q": "Gamma report"}, {"gamma"}),
        ({"status__exact": "failed"}, {"beta"}),
        ({"batch": "import & more"}, {"beta", "gamma"}),
        ({"batch": "import & more", "status__exact": "failed"}, {"beta"}),
        ({"batch": "nothing"}, set()),
        ({"batch": "\x00"}, set()),
        ({"batch": ""}, {"alpha", "beta", "gamma"}),
        ({"result": "failed"}, {"beta"}),
        ({"result": "partial"}, {"delta"}),
        ({"result": "odd"}, set()),
        ({"created_at__gte": "2100-01-01 00:00:00+00:00"}, set()),
    ],
)
def test_list_searches_and_filters(admin_client: Client, query, found) -> None:
    make_job("alpha")
    make_job("beta", JobStatus.FAILED, batch="import & more")
    make_job("gamma", document_name="Gamma report", batch="import & more")
    if "result" in query:
        make_job("delta", JobStatus.SUCCEEDED, failed_items=2)
    jobs = admin_client.get(LIST, query).context["cl"].queryset
    assert {job.pk for job in jobs} == found


def test_list_is_sorted_by_owner_and_by_failed_items(admin_client: Client, monkeypatch) -> None:
    make_job("nobody", failed_items=1, error_count=9)
    make_job("zoe", failed_items=0, owner_name="zoe")
    make_job("ann", failed_items=7, owner_name="ann")

    def listed(**query: str) -> list[str]:
        response = admin_client.get(LIST, query)
        is_noted = "Sorted and counted among the newest" in response.content.decode()
        assert is_noted == (query != {})
        return [job.pk for job in response.context["cl"].result_list]

    assert listed(sort="owner") == ["ann", "zoe", "nobody"]
    assert listed(sort="failed") == ["ann", "nobody", "zoe"]
    assert listed(sort="failed", o="-4")[0] == "nobody"  # the column of errors
    assert listed(sort="failed", _facets="True") == ["ann", "nobody", "zoe"]
    assert listed() == ["ann", "zoe", "nobody"]
    monkeypatch.setattr(job_search, "MAX_SEARCHED", 2)  # of the newest
    assert listed(sort="owner") == ["ann", "zoe"]


def test_page_writes_all_times_alike(admin_client: Client) -> None:
    at = datetime(2026, 3, 4, 15, 6, 7, tzinfo=UTC)
    names = [field.name for field in Job._meta.fields if isinstance(field, DateTimeField)]
    job = make_job()
    Job.objects.filter(pk=job.pk).update(**dict.fromkeys(names, at), status="cancelled")
    html = admin_client.get(page(job)).content.decode()
    shown = re.findall(r"4 Mar 2026, 15:06:07</time>", html)
    assert len(shown) >= 9
    assert not re.search(r"March 4|Mar\. 4|3:06", html)


def test_success_with_failed_items_is_marked(admin_client: Client) -> None:
    make_job("delta", JobStatus.SUCCEEDED, failed_items=1)
    html = admin_client.get(LIST).content.decode()
    assert 'progress-mark-partial" title="Succeeded with errors">Succeeded with 1 error<' in html


def test_page_links_to_the_list_of_its_batch(
    admin_client: Client,
) -> None:
    html = admin_client.get(page(make_job(batch="<b>&"))).content.decode()
    assert f'<a href="{LIST}?batch=%3Cb%3E%26">&lt;b&gt;&amp;</a>' in html
    html = admin_client.get(LIST, {"batch": "<b>&"}).content.decode()
    assert "By batch" in html
    assert "&lt;b&gt;&amp;</a>" in html
    assert "By batch" not in admin_client.get(LIST).content.decode()


@pytest.mark.parametrize("status", JobStatus)
def test_every_status_has_its_label_in_list_and_page(admin_client: Client, status) -> None:
    job = make_job(status=status)
    for url in (LIST, page(job)):
        html = admin_client.get(url).content.decode()
        assert f'progress-mark-{status.value}" title="{status.label}">{status.label}<' in html


@pytest.mark.parametrize(
    "choice",
    [*JobStatus, *StageStatus, *WorkerStatus, *EventLevel, *Liveness],
    ids=lambda choice: f"{type(choice).__name__}-{choice.value}",
)
def test_every_status_level_and_liveness_has_a_colour(choice) -> None:
    styles = (APP / "static/ingestion_progress/admin.css").read_text()
    assert re.search(rf"\.progress-mark-{choice.value}\b", styles)


def test_silent_job_is_shown_as_lost_with_its_meaning(admin_client: Client) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    job = make_job(heartbeat_at=long_ago, updated_at=long_ago)
    assert ">Running · lost</span>" in admin_client.get(LIST).content.decode()
    assert ">No sign of life</span>" in admin_client.get(page(job)).content.decode()


# The page of one job


def test_page_shows_the_range_of_the_forecast(admin_client: Client) -> None:
    now = timezone.now()
    minutes = {"earliest_end_at": 80, "likely_end_at": 110, "latest_end_at": 170}
    ends = {name: now + timedelta(minutes=number) for name, number in minutes.items()}
    html = admin_client.get(page(make_job(former_jobs=3, **ends))).content.decode()
    assert re.search(r"about\s1\sh\s\d\d\smin left \(1–3\sh\)", html)


def test_page_shows_stages_workers_and_why_it_failed(admin_client: Client) -> None:
    job = make_job(status=JobStatus.FAILED, error="The file is <truncated>.")
    Worker.objects.create(
        job=job, number=3, status="processing", current_chunk="chunk-17", progress_percent=50
    )
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    JobEvent.objects.create(
        job=job, attempt=1, at=at, level="error", item="page 3", message="No text"
    )
    html = admin_client.get(page(job)).content.decode()
    assert ">2 Jan 2026, 03:04:05</time>" in html
    assert "The file is &lt;truncated&gt;." in html
    for text in ("Parsing", "Extraction", "chunk-17", "No text", "page 3", "Progress of worker 3"):
        assert text in html


def test_page_calls_numbers_and_stages_as_the_other_pages_do(admin_client: Client) -> None:
    job = make_job()
    Stage.objects.create(job=job, name="vlm", position=2, weight=1)
    html, other = (admin_client.get(url).content.decode() for url in (page(job), live_page(job)))
    for name in ("Chunks", "Images", "Entities", "Relations", "Graph writes", "Vector writes"):
        assert re.search(f"<label[^>]*>{name}:</label>", html)
        assert f"<dt>{name}</dt>" in other
    assert all(">VLM<" in each for each in (html, other))
    assert not re.search("neo4j|qdrant", re.sub("<[^>]*>", "", html), re.IGNORECASE)


def live_page(job: Job) -> str:
    return reverse("ingestion_progress:job_detail", args=[job.pk])


def test_page_without_workers_and_events_explains_that(admin_client: Client) -> None:
    html = admin_client.get(page(make_job())).content.decode()
    assert "No worker has started yet." in html
    assert "Nothing has been logged yet." in html


def test_page_shows_only_the_latest_events_newest_first(admin_client: Client) -> None:
    job = make_job()
    JobEvent.objects.bulk_create(
        JobEvent(job=job, attempt=1, message=f"Event {number:04}") for number in range(1000)
    )
    html = admin_client.get(page(job)).content.decode()
    shown = re.findall(r"Event (\d{4})", html)
    assert shown == [f"{number:04}" for number in range(999, 999 - MAX_ROWS, -1)]


def test_page_costs_the_same_queries_whatever_the_job_holds(admin_client: Client) -> None:
    small, large = make_job("small"), make_job("large")
    Worker.objects.bulk_create(Worker(job=large, number=number) for number in range(200))
    JobEvent.objects.bulk_create(
        JobEvent(job=large, attempt=1, message="Event") for _ in range(500)
    )
    counts = []
    admin_client.get(page(small))
    for job in (small, large):
        with CaptureQueriesContext(connection) as captured:
            admin_client.get(page(job))
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 12


@pytest.mark.parametrize("job_id", ["a_b", 'job "1" <&>', "ü 🚀", "x?y#z%2F", "-", "j" * 255])
def test_page_opens_for_every_valid_id(admin_client: Client, job_id: str) -> None:
    response = admin_client.get(page(make_job(job_id)))
    assert response.status_code == 200
    assert response.context["original"].pk == job_id


@pytest.mark.parametrize("url_of", [lambda job: LIST, page], ids=["list", "page"])
def test_nothing_is_styled_or_scripted_inline(admin_client: Client, url_of) -> None:
    html = admin_client.get(url_of(make_job())).content.decode()
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style", html)
    assert re.search(r'href="[^"]*ingestion_progress/admin\.css"', html)


def test_page_works_without_the_urls_of_the_app(admin_client, settings) -> None:
    settings.ROOT_URLCONF = "tests.support.admin_urls"
    html = admin_client.get(page(make_job())).content.decode()
    assert "Live page" not in html
    assert "job-1.pdf" in html


# Permissions


def test_no_user_may_add_or_change_a_job(admin_client: Client) -> None:
    job = make_job()
    assert admin_client.get(reverse("admin:ingestion_progress_job_add")).status_code == 403
    assert admin_client.post(page(job), {"document_name": "other"}).status_code == 403
    job.refresh_from_db()
    assert job.document_name == "job-1.pdf"


def test_viewer_sees_a_job_and_cannot_change_it(viewer: Client) -> None:
    job, done = make_job(), make_job("done", JobStatus.SUCCEEDED)
    assert 'name="action"' not in viewer.get(LIST).content.decode()
    html = viewer.get(page(job)).content.decode()
    assert "Extraction" in html
    assert "Cancel this job" not in html
    assert viewer.get(page(done, "delete")).status_code == 403
    act(viewer, "cancel_jobs", job)
    act(viewer, "delete_selected", done, post="yes")
    assert Job.objects.filter(cancel_requested_at=None).count() == 2


def test_staff_without_permission_sees_no_jobs() -> None:
    assert staff().get(LIST).status_code == 403


# Cancelling


def test_cancelling_names_the_jobs_that_cannot_be_cancelled(admin_client: Client) -> None:
    queued, running = make_job("queued", JobStatus.QUEUED), make_job("running")
    done = make_job("done", JobStatus.SUCCEEDED)
    html = act(admin_client, "cancel_jobs", queued, running, done).content.decode()
    for job in (queued, running, done):
        job.refresh_from_db()
    assert queued.status == JobStatus.CANCELLED
    assert running.cancel_requested_at is not None
    assert done.status == JobStatus.SUCCEEDED
    assert "Cancellation requested: 2 jobs." in html
    assert "Could not be cancelled: 1 job. Job done is succeeded" in html
    assert ">Cancelling</span>" in html
    assert LogEntry.objects.filter(object_id="running").exists()


def test_many_refusals_are_counted_not_listed(admin_client: Client) -> None:
    jobs = [make_job(f"done-{number}", JobStatus.FAILED) for number in range(8)]
    html = act(admin_client, "cancel_jobs", *jobs).content.decode()
    assert "Could not be cancelled: 8 jobs." in html
    assert "And 3 more." in html
    assert "Cancellation requested" not in html


def test_page_offers_to_cancel_until_the_job_has_ended(admin_client: Client) -> None:
    job = make_job()
    html = admin_client.get(page(job)).content.decode()
    assert re.search(r'<button[^>]*name="action" value="cancel_jobs"', html)
    assert f'name="_selected_action" value="{job.pk}"' in html
    done = make_job("done", JobStatus.FAILED)
    assert "Cancel this job" not in admin_client.get(page(done)).content.decode()


def test_cancelling_requires_the_permission_to_start_jobs() -> None:
    job = make_job()
    act(staff("view_job", "start_job"), "cancel_jobs", job)
    job.refresh_from_db()
    assert job.cancel_requested_at is not None


# Deleting


def test_finished_job_is_deleted_with_all_its_rows(admin_client: Client) -> None:
    job = make_job(status=JobStatus.FAILED)
    JobEvent.objects.create(job=job, attempt=1, message="Event")
    asked = admin_client.get(page(job, "delete")).content.decode()
    assert "Stages: 2" in asked
    admin_client.post(page(job, "delete"), {"post": "yes"})
    assert not Job.objects.exists()
    assert not Stage.objects.exists()
    assert not JobEvent.objects.exists()


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_unfinished_job_is_not_deleted(admin_client: Client, status) -> None:
    job = make_job(status=status)
    assert "deletelink" not in admin_client.get(page(job)).content.decode()
    assert admin_client.post(page(job, "delete"), {"post": "yes"}).status_code == 403
    html = act(admin_client, "delete_selected", job, post="yes").content.decode()
    assert "Not deleted, because not finished: 1 job." in html
    assert Job.objects.filter(pk=job.pk).exists()


def test_deleting_a_selection_keeps_running_jobs(admin_client: Client) -> None:
    jobs = [make_job(), make_job("done", JobStatus.SUCCEEDED), make_job("lost", JobStatus.LOST)]
    asked = act(admin_client, "delete_selected", *jobs)
    assert "Jobs: 2" in asked.content.decode()
    assert "What was made of the documents stays" in asked.content.decode()
    html = act(admin_client, "delete_selected", *jobs, post="yes").content.decode()
    assert "Successfully deleted 2 jobs." in html
    assert [job.pk for job in Job.objects.all()] == ["job-1"]


def test_confirmation_counts_events_and_does_not_list_them(admin_client: Client) -> None:
    job = make_job(status=JobStatus.SUCCEEDED)
    JobEvent.objects.bulk_create(
        JobEvent(job=job, attempt=1, message=f"Message {number}") for number in range(300)
    )
    html = admin_client.get(page(job, "delete")).content.decode()
    assert "Events: 300" in html
    assert "Message" not in html


# Errors and the log


def test_page_groups_errors_and_links_to_all_of_them_and_to_the_whole_log(
    admin_client: Client,
) -> None:
    job = make_job(error_count=338)
    now = timezone.now()
    for number, (message, count) in enumerate(
        [("503 from …", 334), ("<b>No text", 2), *((f"Rare {each}", 1) for each in range(3))]
    ):
        JobError.objects.create(
            job=job, digest=str(number), stage="extraction", message=message, count=count,
            attempt=1, first_at=now, last_at=now, examples=[{"item": "page 7", "message": "503"}],
        )  # fmt: skip
    html = admin_client.get(page(job)).content.decode()
    assert "339 errors of 5 kinds" in html
    assert re.search(r"334\s×", html)
    assert "503 from …" in html
    assert "&lt;b&gt;No text" in html
    assert "page 7" in html
    assert "1 more" in html
    csv, log = (re.search(rf'href="([^"]*{name}[^"]*)"', html) for name in ("errors", "log.txt"))
    assert b"503 from" in admin_client.get(csv[1]).content
    assert admin_client.get(log[1]).status_code == 200


def make_error(job: Job) -> JobError:
    now = timezone.now()
    return JobError.objects.create(
        job=job, digest="1", message="503 from …", count=3, attempt=1, first_at=now, last_at=now
    )


def resolution_of(error: JobError) -> str:
    return f"{page(error.job)[: -len('change/')]}errors/{error.pk}/resolution/"


def test_group_of_errors_is_resolved_and_opened_again_by_its_form(admin_client: Client) -> None:
    error = make_error(make_job())
    assert f'action="{resolution_of(error)}"' in admin_client.get(page(error.job)).content.decode()
    html = admin_client.post(resolution_of(error), follow=True).content.decode()
    error.refresh_from_db()
    assert (error.resolved_at is not None, error.resolved_by) == (True, "admin")
    assert "Resolved by <bdi>admin</bdi>" in html
    admin_client.post(resolution_of(error), {"open": "1"})
    error.refresh_from_db()
    assert (error.resolved_at, error.resolved_by) == (None, "")
    messages = LogEntry.objects.filter(object_id=error.job.pk).order_by("pk")
    assert [str(each) for each in messages.values_list("change_message", flat=True)] == [
        "Marked errors as resolved.",
        "Opened errors again.",
    ]


def test_viewer_sees_errors_without_the_form_that_resolves_them(viewer: Client) -> None:
    error = make_error(make_job())
    html = viewer.get(page(error.job)).content.decode()
    assert "503 from" in html
    assert resolution_of(error) not in html
    assert viewer.post(resolution_of(error)).status_code == 403
    error.refresh_from_db()
    assert error.resolved_at is None


def test_errors_are_resolved_by_a_post_and_of_visible_jobs_only(settings) -> None:
    error, client = make_error(make_job()), staff("view_job", "start_job")
    assert client.get(resolution_of(error)).status_code == 405
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = "ingestion_progress.auth.visibility.own_jobs"
    assert client.post(resolution_of(error)).status_code == 404
    error.refresh_from_db()
    assert error.resolved_at is None


# Marking as lost


@pytest.mark.parametrize("task", ["", "ingestion_progress.pipeline.tasks.ingest_document"])
def test_silent_job_is_marked_as_lost_and_its_page_says_by_whom(admin_client: Client, task) -> None:
    job = make_job(heartbeat_at=timezone.now() - timedelta(seconds=17), task=task)
    data = {"action": "mark_selected_lost", "_selected_action": job.pk, "page_of": job.pk}
    assert "Mark as lost…" in admin_client.get(page(job)).content.decode()
    response = admin_client.post(LIST, data, follow=True)
    assert response.redirect_chain[-1][0] == page(job)
    html = response.content.decode()
    assert "Marked as lost: 1 job." in html
    assert "Lost: Marked as lost by admin." in html
    job.refresh_from_db()
    assert job.status == ("queued" if task else "lost")
    ended = job.attempts.get()
    assert (ended.status, ended.error) == ("lost", "Marked as lost by admin.")
    assert LogEntry.objects.get().object_id == job.pk


def test_job_with_a_sign_of_life_is_marked_as_lost_only_after_confirmation(
    admin_client: Client,
) -> None:
    job, done = make_job(), make_job("done", JobStatus.SUCCEEDED)
    asked = act(admin_client, "mark_selected_lost", job, done).content.decode()
    assert "have just sent a sign of life" in asked
    job.refresh_from_db()
    assert job.status == JobStatus.RUNNING
    html = act(admin_client, "mark_selected_lost", job, done, confirmed="yes").content.decode()
    assert "Marked as lost: 1 job." in html
    assert "Job done is succeeded and cannot be marked as lost" in html
    job.refresh_from_db()
    assert job.status == JobStatus.LOST


def test_viewer_cannot_mark_a_job_as_lost(viewer: Client) -> None:
    job = make_job(heartbeat_at=timezone.now() - timedelta(hours=1))
    assert "Mark as lost" not in viewer.get(page(job)).content.decode()
    act(viewer, "mark_selected_lost", job, confirmed="yes")
    job.refresh_from_db()
    assert job.status == JobStatus.RUNNING
