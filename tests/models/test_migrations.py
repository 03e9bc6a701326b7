"""Processes of an older version go on working after `migrate`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection
from django.db.migrations import AddField, CreateModel, Migration
from django.db.migrations.loader import MigrationLoader

from tests.support.live import LiveProject, environment_of
from tests.support.servers import postgresql

# With the models of an older version: as an old process creates, advances and ends jobs.
OLD_PROCESS = """
    import pathlib, sys, time
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader
    from django.db.models import F
    from django.utils import timezone

    old = MigrationLoader(connection).project_state(("ingestion_progress", sys.argv[1])).apps
    Job, Stage, JobEvent = (
        old.get_model("ingestion_progress", name) for name in ("Job", "Stage", "JobEvent")
    )

    def start(job_id):
        now = timezone.now()
        job = Job.objects.create(id=job_id, status="running", started_at=now, heartbeat_at=now)
        Stage.objects.create(job=job, name="one", position=0, weight=1)

    def advance_and_end(job_id):
        Stage.objects.filter(job_id=job_id).update(processed=F("processed") + 5)
        JobEvent.objects.create(job_id=job_id, attempt=1, level="info", message="Succeeded")
        job = Job.objects.get(pk=job_id)
        job.status, job.finished_at = "succeeded", timezone.now()
        job.save()

    folder = pathlib.Path(sys.argv[2])
    start("before")
    (folder / "started").touch()
    while not (folder / "migrated").exists():
        time.sleep(0.05)
    advance_and_end("before")
    start("after")
    advance_and_end("after")
"""
RESULTS = """
    import json
    from django.utils import timezone
    from ingestion_progress.wire.snapshots import load_snapshots
    from ingestion_progress.models import Job
    print(json.dumps({
        job_id: [
            snapshot.job.status,
            snapshot.job.task,
            snapshot.progress(timezone.now()).stages["one"].processed,
        ]
        for job_id, snapshot in load_snapshots(Job.objects.all()).items()
    }))
"""


@pytest.mark.once
@pytest.mark.parametrize("vendor", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    "version", ["0002_index_of_ended_jobs", "0004_permission_to_start_and_cancel"]
)
def test_an_old_process_creates_advances_and_ends_jobs_after_a_migration(
    tmp_path: Path, vendor: str, version: str
):
    is_sqlite = vendor == "sqlite"
    url = f"sqlite:///{tmp_path / 'a.sqlite3'}" if is_sqlite else postgresql().create_database()
    project = LiveProject(folder=tmp_path, env=environment_of(tmp_path, url))
    project.manage("migrate", "ingestion_progress", version, "--verbosity", "0")
    process = project.python(OLD_PROCESS, version, str(tmp_path))
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, project.log.read_text()
        time.sleep(0.05)
    project.manage("migrate", "--verbosity", "0")
    (tmp_path / "migrated").touch()
    assert process.wait(60) == 0, project.log.read_text()
    ended = ["succeeded", "", 5]
    assert project.output_of(RESULTS) == {"before": ended, "after": ended}


def added_fields(migration: Migration) -> list[AddField]:
    """Those of tables that older versions know."""
    new = {each.name_lower for each in migration.operations if isinstance(each, CreateModel)}
    fields = [each for each in migration.operations if isinstance(each, AddField)]
    return [each for each in fields if each.model_name_lower not in new]


@pytest.mark.django_db
@pytest.mark.database
def test_an_added_column_has_a_default_in_the_database_or_may_be_null():
    refused, checked = [], 0
    for (label, _), migration in sorted(MigrationLoader(None).disk_migrations.items()):
        if not migration.__module__.startswith("ingestion_progress."):
            continue
        for added in added_fields(migration):
            model = apps.get_model(label, added.model_name)
            column = model._meta.get_field(added.name).column
            with connection.cursor() as cursor:
                columns = connection.introspection.get_table_description(
                    cursor, model._meta.db_table
                )
            (found,) = [each for each in columns if each.name == column]
            checked += 1
            if not found.null_ok and found.default is None:
                refused.append(f"{model._meta.db_table}.{column}")
    assert checked > 10
    assert refused == []
