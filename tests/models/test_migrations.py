"""Processes of an older version go on working after `migrate`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction
from django.db.migrations import AddField, CreateModel, Migration
from django.db.migrations.loader import MigrationLoader
from django.db.models import ForeignKey, Model

from ingestion_progress.models import Job, JobAttempt, JobSamples
from tests.support.live import LiveProject, environment_of
from tests.support.servers import postgresql

# The models of an older version, which it keeps while the database is migrated.
OLD_MODELS = """
    import pathlib, sys, time
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader
    from django.db.models import F
    from django.utils import timezone

    folder, *versions = sys.argv[1:]
    folder = pathlib.Path(folder)
    apps = ("ingestion_progress", "ingestion_pipeline")
    old = MigrationLoader(connection).project_state(list(zip(apps, versions))).apps
    Job, Stage, JobEvent = (
        old.get_model("ingestion_progress", name) for name in ("Job", "Stage", "JobEvent")
    )

    def wait_for_migration():
        (folder / "started").touch()
        while not (folder / "migrated").exists():
            time.sleep(0.05)
"""
OLD_PROCESS = """
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

    start("before")
    wait_for_migration()
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


# Deletes as `prune_jobs`, the API and the admin do: rows by a filter, and an object.
OLD_DELETION = """
    Document = old.get_model("ingestion_pipeline", "Document")
    wait_for_migration()
    Job.objects.filter(pk="pruned").delete()
    Job.objects.get(pk="deleted").delete()
    Document.objects.get(pk="deleted").delete()
"""
NEW_ROWS = """
    import json
    from django.utils import timezone
    from ingestion_progress.pipeline.models import Document, Edition, ModelAnswer, PendingVersion
    from ingestion_progress.testing import synchronous_tracking
    from ingestion_progress.tracker import track

    options = {"stages": ["one"], "workers": 2, "restart": True}
    for job_id in ("pruned", "deleted", "kept"):
        for attempt in (1, 2):
            with synchronous_tracking(), track("a", job_id=job_id, **options) as job:
                with job.stage("one", total=2) as stage:
                    stage.advance(1, key=attempt)
                    stage.record_error("torn", item="2")
        document = Document.objects.create(id=job_id, name=job_id, size_bytes=1)
        Edition.objects.create(document=document, epoch=job.epoch, job_id=job_id)
        PendingVersion.objects.create(document=document, file=job_id, size_bytes=1)
        answer = {"key": job_id, "content": "1", "size_bytes": 1, "used_at": timezone.now()}
        ModelAnswer.objects.create(document=document, **answer)
    print(json.dumps(None))
"""
LEFT = """
    import json
    from django.apps import apps
    from ingestion_progress.models import Job
    from ingestion_progress.pipeline.models import Document
    children = [
        (relation.related_model, relation.field.attname)
        for model in (Job, Document) for relation in model._meta.related_objects
    ]
    print(json.dumps({
        model._meta.model_name: sorted(set(model.objects.values_list(name, flat=True)))
        for model, name in [(Job, "id"), (Document, "id"), *children]
    }))
"""


MIGRATE = """
    import json, sys
    from django.core.management import call_command
    for target in sys.argv[1:]:
        call_command("migrate", *target.split(), verbosity=0)
    print(json.dumps(None))
"""
NEWEST = ""


@pytest.fixture(params=["sqlite", "postgresql"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveProject]:
    """Each database without tables."""
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'a.sqlite3'}" if is_sqlite else postgresql().create_database()
    project = LiveProject(folder=tmp_path, env=environment_of(tmp_path, url))
    yield project
    project.stop()


def run_old_process(project: LiveProject, source: str, new: str, *versions: str) -> None:
    """Runs `source` in a process of an older version. While it waits for the migration, the
    database is migrated and `new` runs in a process of this version.
    """
    folder = project.folder
    apps = ("ingestion_progress", "ingestion_pipeline")
    project.output_of(MIGRATE, *map(" ".join, zip(apps, versions, strict=False)))
    process = project.python(dedent(OLD_MODELS) + dedent(source), str(folder), *versions)
    deadline = time.monotonic() + 60
    while not (folder / "started").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, project.log.read_text()
        time.sleep(0.05)
    project.ask(MIGRATE, NEWEST)
    if new:
        project.ask(new)
    (folder / "migrated").touch()
    assert process.wait(60) == 0, project.log.read_text()


@pytest.mark.once
@pytest.mark.parametrize(
    "version", ["0002_index_of_ended_jobs", "0004_permission_to_start_and_cancel"]
)
def test_an_old_process_creates_advances_and_ends_jobs_after_a_migration(
    project: LiveProject, version: str
):
    run_old_process(project, OLD_PROCESS, "", version)
    ended = ["succeeded", "", 5]
    assert project.ask(RESULTS) == {"before": ended, "after": ended}


@pytest.mark.once
@pytest.mark.parametrize(
    "versions",
    [
        pytest.param(
            ("0004_permission_to_start_and_cancel", "0003_a_document_keeps_what_may_come_back"),
            id="without attempts and editions",
        ),
        pytest.param(
            ("0010_owners_and_metadata", "0006_defaults_in_the_database"), id="without samples"
        ),
    ],
)
def test_an_old_process_deletes_what_a_new_one_has_written(
    project: LiveProject, versions: tuple[str, str]
):
    run_old_process(project, OLD_DELETION, NEW_ROWS, *versions)
    left = project.ask(LEFT)
    of_documents = {"entity": [], "relation": [], "document": ["kept", "pruned"]}
    for name in ("edition", "pendingversion", "modelanswer"):
        of_documents[name] = of_documents["document"]
    assert left == {name: of_documents.get(name, ["kept"]) for name in left}
    assert {"checkpoint", "jobattempt", "joberror", "jobsamples", "edition"} <= set(left)


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
            names = {field.name: field.column for field in model._meta.concrete_fields}
            column = names.get(added.name, added.name)  # older processes may still use it
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


def on_delete(model: type[Model], column: str) -> list[str]:
    """What the database does with the rows if the row is deleted to which they refer."""
    table = model._meta.db_table
    if connection.vendor == "sqlite":
        query = 'SELECT on_delete FROM pragma_foreign_key_list(%s) WHERE "from" = %s'
    else:
        query = """
            SELECT CASE confdeltype WHEN 'c' THEN 'CASCADE' ELSE confdeltype::text END
            FROM pg_constraint
            JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
            WHERE contype = 'f' AND conrelid = %s::regclass AND attname = %s
        """
    with connection.cursor() as cursor:
        cursor.execute(query, [table, column])
        return [str(action) for (action,) in cursor.fetchall()]


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.parametrize("label", ["ingestion_progress", "ingestion_pipeline"])
def test_the_database_deletes_rows_of_tables_that_older_versions_do_not_know(label: str):
    loader = MigrationLoader(None)
    (first,) = loader.graph.root_nodes(label)
    oldest = loader.project_state(first).models
    found = {
        f"{model.__name__}.{field.name}": on_delete(model, field.column)
        for model in apps.get_app_config(label).get_models()
        for field in model._meta.get_fields()
        if isinstance(field, ForeignKey)
        and field.related_model._meta.app_label == label
        and (label, model._meta.model_name) not in oldest
    }
    assert found
    assert found == {name: ["CASCADE"] for name in found}


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.parametrize("is_one_object", [True, False])
def test_this_version_deletes_a_job_and_leaves_no_row_of_it(is_one_object: bool):
    job = Job.objects.create()
    JobAttempt.objects.create(
        job=job, number=1, epoch=job.epoch, status="lost", finished_at=job.created_at
    )
    if is_one_object:
        job.delete()
    else:
        Job.objects.all().delete()
    connection.check_constraints()
    assert not JobAttempt.objects.exists()


@pytest.mark.django_db
@pytest.mark.database
def test_a_row_without_its_job_is_refused():
    with pytest.raises(IntegrityError), transaction.atomic():
        JobSamples.objects.create(job_id="missing", attempt=1)
        connection.check_constraints()


@pytest.mark.once
def test_migrations_go_back_to_constraints_that_refuse(project: LiveProject):
    back = ("ingestion_progress 0016", "ingestion_pipeline 0007")
    project.output_of(MIGRATE, NEWEST, *back)
    project.ask(MIGRATE, NEWEST)
    project.ask(NEW_ROWS)
