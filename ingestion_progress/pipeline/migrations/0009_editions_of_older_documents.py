from typing import Any

from django.db import migrations
from django.db.models import Exists, OuterRef

CHUNK = 1000


def create_editions(apps: Any, schema_editor: Any) -> None:
    """An edition for what was written before there were editions, by the last job of the document.

    With VISIBLE_JOBS, search shows text to those who see the job that has written it.
    """
    alias = schema_editor.connection.alias
    names = ("Document", "Edition")
    document, edition = (apps.get_model("ingestion_pipeline", name) for name in names)
    has_one = Exists(edition.objects.using(alias).filter(document=OuterRef("pk"), epoch=""))
    old = document.objects.using(alias).filter(~has_one, published_epoch="").exclude(ingested_by="")
    found = list(old.values_list("pk", "ingested_by"))
    for start in range(0, len(found), CHUNK):
        editions = [
            edition(document_id=key, epoch="", job_id=job_id)
            for key, job_id in found[start : start + CHUNK]
        ]
        edition.objects.using(alias).bulk_create(editions, ignore_conflicts=True)


class Migration(migrations.Migration):
    """Locks no table of documents while it runs."""

    atomic = False

    dependencies = [("ingestion_pipeline", "0008_rows_that_the_database_deletes")]

    operations = [
        migrations.RunPython(create_editions, migrations.RunPython.noop, elidable=True),
    ]
