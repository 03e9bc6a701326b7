"""Lists, filters and metrics cost the same however many jobs there are: the number of statements,
which part of the table of jobs they read, and how much of it.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ingestion_progress.admin.batches import BatchAdmin
from ingestion_progress.admin.jobs import JobAdmin
from ingestion_progress.models import Batch, Job, JobSamples, Stage
from ingestion_progress.models import job_search as search
from ingestion_progress.models.pagination import ListCursor, RowCount
from ingestion_progress.monitoring.metrics import count_jobs
from ingestion_progress.web import batch_list

pytestmark = [pytest.mark.django_db, pytest.mark.database]

OWN_JOBS = "ingestion_progress.auth.visibility.own_jobs"
API = "/api/v1/admin/ingestion"
ADMIN = "/admin/ingestion_progress/job/"
FILTERED = [
    "/?status=running",
    "/?group=attention",
    "/?group=done",
    "/?result=partial",
    "/?batch=batch-7",
    "/?owner=me",
    f"{API}/jobs?status=running",
    f"{API}/jobs?status=queued&status=running",
    f"{API}/jobs?result=partial",
    f"{API}/jobs?batch=batch-7",
    f"{API}/jobs?batch=batch-7&status=succeeded",
    f"{API}/jobs?owner=me",
    f"{API}/jobs?owner=me&status=running",
    f"{API}/batches?limit=2",
    f"{API}/batches/batch-7",
    f"{API}/jobs/job-7",
    f"{ADMIN}?status__exact=running",
    f"{ADMIN}?result=partial",
    f"{ADMIN}?batch=batch-7",
    f"{ADMIN}?owned_by=me",
    f"{ADMIN}?about=auth.group:7",
    f"{ADMIN}?document_id=doc-7",
    f"{ADMIN}?q=job-7",
    f"{ADMIN}?o=4",
    f"{ADMIN}?o=-5&status__exact=failed",
    f"{ADMIN}?sort=owner",
    f"{ADMIN}?sort=failed&_facets=True",
    f"{ADMIN}?q=eport+7",
]
LISTS = [url for url in FILTERED if url.startswith(f"{API}/jobs?")] + [
    f"{API}/jobs",
    f"{API}/jobs?status=failed",
    f"{API}/jobs?result=failed,partial",
    f"{API}/batches",
]
SORTED = [
    "/?sort=longest",
    "/?sort=name&page=2",
    "/?sort=shortest&group=done",
    "/?sort=longest&group=attention",
    "/?sort=name&owner=me",
    f"{API}/jobs?sort=longest&limit=5",
    f"{API}/jobs?sort=name&owner=me&limit=5",
    f"{API}/jobs?sort=shortest&batch=batch-7&limit=5",
    f"{API}/jobs?sort=shortest&status=failed&status=succeeded&limit=5",
]
FILTERED += [*SORTED, f"{API}/jobs?sort=oldest&limit=5"]
# With VISIBLE_JOBS these, too, read the jobs of one user only.
UNFILTERED = ["/", "/batches/", f"{API}/jobs", f"{API}/batches", ADMIN]
TABLE = "ingestion_progress_job"


@pytest.fixture(autouse=True)
def newest_jobs_of_the_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are a small part of the jobs here, too."""
    monkeypatch.setattr(search, "MAX_SEARCHED", 100)
    monkeypatch.setattr(RowCount, "limit", 100)


@pytest.fixture
def user(django_user_model: Any) -> Any:
    user = django_user_model.objects.create(username="ann", is_staff=True)
    in_apps = Permission.objects.filter(content_type__app_label="ingestion_progress")
    user.user_permissions.set(in_apps)
    return user


@pytest.fixture
def viewer(user: Any, client: Client) -> Client:
    client.force_login(user)
    return client


def store_jobs(count: int, owner: Any, *, owned: int = 100, in_one_batch: bool = False) -> None:
    """One of `owned` belongs to the owner; batches have five jobs, or every other is in one."""
    now = timezone.now()
    Batch.objects.bulk_create(
        Batch(id=f"batch-{n}", owner_id=1000 + n, created_at=now - timedelta(minutes=5 * n + 4))
        for n in range(count // 5)
    )
    jobs = [_job(n, now, owner if n % owned == 0 else None) for n in range(count)]
    if in_one_batch:
        for job in jobs[600::2]:  # not those of the first page, which shows sums of a batch
            job.batch = "batch-7"
    Job.objects.bulk_create(jobs)
    Stage.objects.bulk_create(Stage(job=job, name="one", position=0, weight=1) for job in jobs)
    JobSamples.objects.bulk_create(JobSamples(job=job, attempt=1) for job in jobs)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _job(n: int, now: Any, owner: Any) -> Job:
    at = now - timedelta(minutes=n)
    is_running = n % 100 == 50 and n < 2600
    return Job(
        id=f"job-{n}",
        document_id=f"doc-{n}",
        document_name=f"Report {n}.pdf",
        batch=f"batch-{n // 5}",
        owner=owner,
        about_model="auth.group" if n % 2 else "",
        about_id=f"{n // 10}" if n % 2 else "",
        status="running" if is_running else "succeeded",
        failed_items=n % 100 == 7,
        created_at=at,
        started_at=at,
        updated_at=at,
        heartbeat_at=now,
        finished_at=None if is_running else at,
    )


def queries_of(client: Client, url: str) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200, url
    return [query["sql"] for query in queries]


def full_scans(statement: str) -> list[str]:
    """The parts of the plan that read all jobs."""
    explain = (
        "EXPLAIN (FORMAT JSON) " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
    )
    with connection.cursor() as cursor:
        cursor.execute(explain + statement.replace("%", "%%"))
        rows = cursor.fetchall()
    if connection.vendor == "sqlite":
        return [row[3] for row in rows if re.fullmatch(rf"SCAN ({TABLE}|U0)", row[3])]
    plan = rows[0][0]
    nodes = _nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    return [
        f"{node['Node Type']} {node.get('Filter', '')}"
        for node in nodes
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] == TABLE
    ]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """But those of which a limit reads a small part, such as the first hundred of a full table."""
    yield plan
    for child in plan.get("Plans", []):
        is_limited = plan["Node Type"] == "Limit" and "Plans" not in child
        if not is_limited or plan["Total Cost"] > child["Total Cost"] / 10:
            yield from _nodes(child)


def scans_of(client: Client, urls: list[str]) -> dict[str, list[str]]:
    found = {}
    for url in urls:
        selects = [sql for sql in queries_of(client, url) if TABLE in sql]
        assert selects, url
        if scans := [scan for sql in selects for scan in full_scans(sql)]:
            found[url] = scans
    return found


def test_no_filter_reads_all_jobs(viewer, user):
    """Of some thousand jobs PostgreSQL may rather read all than look up a page of them."""
    store_jobs(8000, user)
    assert scans_of(viewer, FILTERED) == {}


def test_page_of_an_object_reads_only_the_jobs_about_it(viewer, user, settings):
    settings.ROOT_URLCONF = "tests.support.about_admin_urls"
    user.user_permissions.add(Permission.objects.get(codename="change_group"))
    group = Group.objects.create(name="Buyers")
    store_jobs(8000, user)
    Job.objects.filter(about_id="3").update(about_id=str(group.pk))
    assert scans_of(viewer, [f"/own/auth/group/{group.pk}/change/"]) == {}


@pytest.mark.parametrize("owned", [100, 5000], ids=["one percent", "none"])
def test_with_visible_jobs_no_page_reads_the_jobs_of_others(
    viewer, user, django_user_model, settings, owned
):
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
    others = django_user_model.objects.create(username="ben")
    store_jobs(4000, user, owned=owned)
    if owned == 5000:
        Job.objects.filter(owner=user).update(owner=others)
    Job.objects.filter(owner=None).update(owner=others)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    of_one_job = [f"{API}/jobs/job-7", f"{API}/batches/batch-7"]  # 404
    urls = [url for url in FILTERED if url not in of_one_job]
    assert scans_of(viewer, UNFILTERED + urls) == {}


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are reached with the smaller number of jobs."""
    monkeypatch.setattr(RowCount, "limit", 20)
    monkeypatch.setattr(batch_list, "PAGE_SIZE", 5)
    for admin in (JobAdmin, BatchAdmin):
        monkeypatch.setattr(admin, "list_per_page", 10)


def test_cost_does_not_grow_with_stored_jobs(viewer, user, small_limits):
    """Not only the plan: a scan of an index may read all of it, too."""
    assert _grown(viewer, user) == {}


def test_cost_of_own_jobs_does_not_grow_with_those_of_others(viewer, user, settings, small_limits):
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
    grown = _grown(viewer, user, owned=26)
    assert {url: cost for url, cost in grown.items() if "batches" not in url} == {}


def test_cost_does_not_grow_with_the_jobs_of_one_user_and_one_batch(
    viewer, user, settings, small_limits
):
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
    grown = _grown(viewer, user, everything=True)
    of_sums = ["/?batch=batch-7", f"{API}/batches/batch-7"]  # of all jobs of the batch
    assert {url: cost for url, cost in grown.items() if url not in of_sums} == {}


def _grown(
    viewer: Client, user: Any, *, owned: int = 0, everything: bool = False
) -> dict[str, tuple[int, int]]:
    """The cost with some thousand jobs and three times as many, where it differs."""
    measured = []
    for number in (2600, 7800):
        Job.objects.all().delete()
        Batch.objects.all().delete()
        share = 1 if everything else number // owned if owned else 100
        store_jobs(number, user, owned=share, in_one_batch=everything)
        cursor = ListCursor.after(Job.objects.get(pk=f"job-{number // 2}"))
        pages = [*UNFILTERED, *FILTERED, *LISTS]
        urls = [_with(url, "limit=5") if url in LISTS else url for url in pages]
        urls += [_with(url, f"limit=5&cursor={cursor}") for url in LISTS]
        own = viewer.get(f"{API}/jobs?limit=1").json()["items"][0]["job_id"]
        urls = [re.sub(r"job-7$", own, url) for url in urls]
        costs = [cost_of(lambda url=url: viewer.get(url)) for url in urls]
        measured.append([*costs, cost_of(count_jobs)])
    names = [re.sub(r"cursor=.*", "cursor", url) for url in urls]
    few_and_many = zip([*names, "/metrics"], *measured, strict=True)
    # PostgreSQL may rather sort some hundred rows than follow an index. All would be 5,200 more.
    return {url: (few, many) for url, few, many in few_and_many if many > few * 1.5 + 1000}


def _with(url: str, query: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{query}"


def cost_of(run: Callable[[], object]) -> int:
    """Instructions of SQLite's virtual machine in tens, or rows that PostgreSQL reads."""
    with connection.cursor():
        pass
    if connection.vendor == "sqlite":
        steps = itertools.count()
        connection.connection.set_progress_handler(lambda: next(steps) and 0, 10)
        try:
            run()
        finally:
            connection.connection.set_progress_handler(None, 0)
        return next(steps)
    with CaptureQueriesContext(connection) as queries:
        run()
    return sum(_rows_read(query["sql"]) for query in queries if query["sql"].startswith("SELECT"))


def _rows_read(statement: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.replace('%', '%%')}")
        plan = cursor.fetchone()[0]
    nodes = _nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes
        if "Scan" in node["Node Type"]
    )


def test_number_of_statements_does_not_depend_on_the_number_of_jobs(viewer, user, settings):
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = OWN_JOBS
    store_jobs(200, user, owned=1)
    urls = UNFILTERED + FILTERED
    few = {url: len(queries_of(viewer, url)) for url in urls}
    Job.objects.all().delete()
    Batch.objects.all().delete()
    store_jobs(1000, user, owned=1)
    assert {url: len(queries_of(viewer, url)) for url in urls} == few
    # Facets are a query for each filter.
    assert max(number for url, number in few.items() if "_facets" not in url) <= 12
