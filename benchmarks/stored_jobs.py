"""What lists, filters, the admin, `/metrics` and streams cost with many stored jobs:
`python -m benchmarks.stored_jobs fill JOBS` and `python -m benchmarks.stored_jobs measure`, with
an empty database in `DATABASE_URL`. JSON goes to `var/bench/results/`, in one file for the
databases that are measured on a day.

A tenth of the jobs has failed, a tenth has failed items, and a hundredth is active. Half of them
are in batches of a hundred. A hundred users own them, `one-percent` as many as every other. Each
job has five stages, five log entries and samples. `measure` requests pages for a user who sees
all jobs, for two who see only their own, and a stream of all jobs.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, cpu_seconds

APP = "ingestion_progress"
OWN_JOBS = "ingestion_progress.auth.visibility.own_jobs"
PER_BATCH = 100
USERS = 100
CHUNK = 2000
STAGES = ("parsing", "vlm", "chunking", "embedding", "extraction")
SAMPLES = [[ms * 500, ms / 2, [ms] * 5, [200] * 5, None] for ms in range(60)]
ROUNDS = 15
STEADY_SECONDS = 15
API = "/api/v1/admin/ingestion"
ADMIN = "/admin/ingestion_progress/job/"


def fill(number: int) -> None:
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Permission
    from django.db import connection
    from django.utils import timezone

    from ingestion_progress.models import Batch, Job, JobEvent, JobSamples, Stage

    users = get_user_model().objects
    owners = users.bulk_create(
        users.model(username=f"user-{n}" if n else "one-percent") for n in range(USERS)
    )
    owners.append(users.create(username="none"))
    for user in (owners[0], owners.pop()):
        user.is_staff = True
        user.save()
        user.user_permissions.set(Permission.objects.filter(content_type__app_label=APP))
    now = timezone.now()
    Batch.objects.bulk_create(
        Batch(id=f"batch-{n}", name=f"Night {n}", owner=owners[n % USERS])
        for n in range(number // PER_BATCH // 2)
    )
    for first in range(0, number, CHUNK):
        numbers = range(first, min(first + CHUNK, number))
        jobs = Job.objects.bulk_create(job(n, number, owners, now) for n in numbers)
        Stage.objects.bulk_create(
            Stage(job=each, name=name, position=position, weight=1, processed=100, total=200)
            for each in jobs
            for position, name in enumerate(STAGES)
        )
        JobEvent.objects.bulk_create(
            JobEvent(job=each, attempt=1, message=f"Line {line}")
            for each in jobs
            for line in range(5)
        )
        JobSamples.objects.bulk_create(
            JobSamples(job=each, attempt=1, stages=list(STAGES), samples=SAMPLES) for each in jobs
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE")


def job(n: int, number: int, owners: list[Any], now: datetime) -> Any:
    """The newest have the highest numbers; every hundredth of them is active."""
    from ingestion_progress.models import Job

    age = timedelta(minutes=number - n)
    is_active = n % 100 == 0
    times: dict[str, Any] = {"created_at": now - age, "started_at": now - age, "updated_at": now}
    if is_active:
        times["heartbeat_at"] = now + timedelta(days=1)  # so that none of them is lost
    else:
        times["finished_at"] = now - age + timedelta(seconds=50)
    return Job(
        id=f"job-{n}",
        document_id=f"doc-{n}",
        document_name=f"Report {n}.pdf",
        status="running" if is_active else "failed" if n % 10 == 1 else "succeeded",
        failed_items=n % 10 == 2,
        batch=f"batch-{n // 2 // PER_BATCH}" if n % 2 else "",
        owner=owners[n // 7 % USERS],
        owner_name=owners[n // 7 % USERS].username,
        reached_percent=50,
        event_count=5,
        **times,
    )


def pages(cursor: str) -> Iterator[tuple[str, str]]:
    """Labels and URLs; the cursor is after half of the jobs."""
    yield "list", "/"
    yield "list, last number", "/?page=400"
    yield "list, by cursor", f"/?cursor={cursor}"
    yield "list, failed", "/?status=failed"
    yield "list, partial", "/?result=partial"
    yield "list, a batch", "/?batch=batch-3"
    yield "list, own", "/?owner=me"
    yield "list, longest first", "/?sort=longest"
    yield "list, by name", "/?sort=name"
    yield "list, own by name", "/?sort=name&owner=me"
    yield "API list", f"{API}/jobs"
    yield "API list, longest first", f"{API}/jobs?sort=longest"
    yield "API list, failed", f"{API}/jobs?status=failed"
    yield "API list, running", f"{API}/jobs?status=running"
    yield "API list, partial", f"{API}/jobs?result=partial"
    yield "API list, a batch", f"{API}/jobs?batch=batch-3"
    yield "API list, own", f"{API}/jobs?owner=me"
    yield "API list, own and failed", f"{API}/jobs?owner=me&status=failed"
    yield "API list, last offset", f"{API}/jobs?offset=10000"
    yield "API list, by cursor", f"{API}/jobs?cursor={cursor}"
    yield "API list, failed by cursor", f"{API}/jobs?status=failed&cursor={cursor}"
    yield "API list, two statuses", f"{API}/jobs?status=succeeded&status=failed"
    yield "API batches", f"{API}/batches"
    yield "API batch", f"{API}/batches/batch-3"
    yield "API job", f"{API}/jobs/job-501"
    yield "page of a job", "/jobs/job-501/"
    yield "admin", ADMIN
    yield "admin, failed", f"{ADMIN}?status__exact=failed"
    yield "admin, partial", f"{ADMIN}?result=partial"
    yield "admin, a batch", f"{ADMIN}?batch=batch-3"
    yield "admin, own", f"{ADMIN}?owned_by=me"
    yield "admin, search for an id", f"{ADMIN}?q=job-501"
    yield "admin, search for a name", f"{ADMIN}?q=eport+99"
    yield "/metrics", "/metrics"


def measure() -> tuple[str, dict[str, Any]]:
    """A title, and what was measured of the pages."""
    from django.contrib.auth import get_user_model
    from django.db import connection
    from django.test import Client, override_settings
    from django.test.utils import CaptureQueriesContext

    from ingestion_progress.models import Job
    from ingestion_progress.models.pagination import ListCursor
    from ingestion_progress.monitoring.metrics import count_jobs

    logging.disable()
    print(f"{connection.vendor}, load {os.getloadavg()[0]:.1f}")
    number = Job.objects.count()
    cursor = str(ListCursor.after(Job.objects.get(pk=f"job-{number // 2}")))
    measured: dict[str, Any] = {"load_average_before": round(os.getloadavg()[0], 1), "pages": {}}
    for name, rule in (("one-percent", ""), ("one-percent", OWN_JOBS), ("none", OWN_JOBS)):
        client = Client()
        client.force_login(get_user_model().objects.get(username=name))
        print(f"\n{name}{', only own jobs' if rule else ''}")
        found = measured["pages"][f"{name}{', only own jobs' if rule else ''}"] = {}
        with override_settings(INGESTION_PROGRESS_VISIBLE_JOBS=rule, ALLOWED_HOSTS=["*"]):
            for label, url in pages(cursor):
                found[label] = row(label, partial(client.get, url))
    # `/metrics` runs them in a thread of its own.
    with CaptureQueriesContext(connection) as queries:
        count_jobs()
        statements = [query["sql"] for query in queries]
    measured["metrics"] = {"statements": len(statements), "pages": pages_read(statements)}
    print(f"\n/metrics: {measured['metrics']}")
    return f"{connection.vendor}, {number} jobs", measured


def store(title: str, measured: dict[str, Any]) -> None:
    folder = ROOT / "var" / "bench" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y-%m-%d}-stored-jobs.json"
    result = json.loads(path.read_text()) if path.exists() else {"kind": "stored-jobs"}
    result[title] = measured
    path.write_text(json.dumps(result, indent=1) + "\n")


def row(label: str, get: Callable[[], Any]) -> dict[str, Any]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        response = get()
        statements = [query["sql"] for query in queries]
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        get()
        seconds.append(time.perf_counter() - began)
    least, median = (value * 1000 for value in (min(seconds), statistics.median(seconds)))
    print(
        f"{label:26} {response.status_code} {len(statements):3} statements"
        f" {pages_read(statements):6} pages {least:7.1f} ms at least {median:7.1f} ms median"
        f" {len(response.content) / 1000:7.1f} KB",
        flush=True,
    )
    return {
        "status": response.status_code,
        "statements": len(statements),
        "pages": pages_read(statements),
        "least_ms": round(least, 1),
        "median_ms": round(median, 1),
        "bytes": len(response.content),
    }


def pages_read(statements: list[str]) -> int:
    """How many pages of 8 KB PostgreSQL reads for them, in memory or not; 0 for SQLite."""
    from django.db import connection

    found = 0
    for statement in statements:
        if connection.vendor == "postgresql" and statement.startswith("SELECT"):
            with connection.cursor() as cursor:
                cursor.execute(
                    f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}".replace("%", "%%")
                )
                plan = cursor.fetchone()[0][0]["Plan"]
            found += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return found


def stream() -> dict[str, float]:
    """The first states of all active jobs, and the server's CPU while nothing changes."""
    from tests.support.live import LiveProject

    with tempfile.TemporaryDirectory() as folder:
        project = LiveProject(folder=Path(folder), env=os.environ | {"PUBLIC": "true"})
        server = project.serve("uvicorn")
        try:
            began = time.perf_counter()
            body = Path(folder) / "body"
            address = f"{server.url}{API}/progress"
            project.spawn("curl", "-sN", "-o", str(body), address)
            while not (body.exists() and b"pipeline_progress" in body.read_bytes()):
                time.sleep(0.01)
            first = time.perf_counter() - began
            time.sleep(5)
            cpu = cpu_seconds(server.process.pid)
            time.sleep(STEADY_SECONDS)
            cpu = cpu_seconds(server.process.pid) - cpu
            size = body.stat().st_size / 1e6
            print(
                f"stream of all: first state after {first:.2f} s, {size:.2f} MB, then "
                f"{cpu / STEADY_SECONDS:.3f} cores, load {os.getloadavg()[0]:.1f}"
            )
            return {
                "first_state_seconds": round(first, 2),
                "megabytes": round(size, 2),
                "cores": round(cpu / STEADY_SECONDS, 3),
            }
        finally:
            project.stop()


if __name__ == "__main__":
    import django

    django.setup()
    if sys.argv[1] == "fill":
        fill(int(sys.argv[2]))
    else:
        title, measured = measure()
        store(title, {**measured, "stream": stream()})
