from typing import Any

from django.db import migrations, models

CHUNK = 1000


def create_records(apps: Any, schema_editor: Any) -> None:
    """A record for each batch that jobs name."""
    alias = schema_editor.connection.alias
    job, batch = (apps.get_model("ingestion_progress", name) for name in ("Job", "Batch"))
    named = job.objects.using(alias).exclude(batch="").order_by().values("batch")
    found = list(named.annotate(first=models.Min("created_at")).values_list("batch", "first"))
    for start in range(0, len(found), CHUNK):
        records = [batch(id=name, created_at=at) for name, at in found[start : start + CHUNK]]
        batch.objects.using(alias).bulk_create(records, ignore_conflicts=True)


class Migration(migrations.Migration):
    """Locks no table of jobs while it runs."""

    atomic = False

    dependencies = [("ingestion_progress", "0015_jobs_about_objects")]

    operations = [
        migrations.RunPython(create_records, migrations.RunPython.noop, elidable=True),
    ]
