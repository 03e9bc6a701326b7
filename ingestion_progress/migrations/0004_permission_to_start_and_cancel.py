"""Names the permission for what it permits, and says what an attempt is."""

from typing import Any

from django.db import migrations, models, router

BEFORE, AFTER = "Can start, cancel and retry jobs", "Can start and cancel jobs"


def rename(apps: Any, schema_editor: Any) -> None:
    """`migrate` makes the rows of permissions that are missing, and renames none."""
    using = schema_editor.connection.alias
    try:
        permission = apps.get_model("auth", "Permission")
    except LookupError:  # a project without users, or a database that is new
        return
    if router.allow_migrate_model(using, permission):
        permission.objects.using(using).filter(codename="start_job", name=BEFORE).update(name=AFTER)


class Migration(migrations.Migration):

    dependencies = [
        ('ingestion_progress', '0003_batches'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='job',
            options={'ordering': ['-created_at', 'id'], 'permissions': [('start_job', AFTER)]},
        ),
        migrations.AlterField(
            model_name='job',
            name='attempt',
            field=models.PositiveIntegerField(default=1, help_text='One try at the job; starting it again is the next one.'),
        ),
        migrations.RunPython(rename, migrations.RunPython.noop, elidable=True),
    ]
