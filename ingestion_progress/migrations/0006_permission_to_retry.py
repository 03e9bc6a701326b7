"""Names the permission for what it permits, and who requested a cancellation."""

from typing import Any

from django.db import migrations, models, router

BEFORE, AFTER = "Can start and cancel jobs", "Can start, cancel and retry jobs"


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
        ('ingestion_progress', '0005_attempts_checkpoints_and_errors'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='job',
            options={'ordering': ['-created_at', 'id'], 'permissions': [('start_job', AFTER)]},
        ),
        migrations.AlterField(
            model_name='job',
            name='cancel_requested_by',
            field=models.CharField(blank=True, db_default='', default='', help_text='User name; empty on a public site.', max_length=255),
        ),
        migrations.RunPython(rename, migrations.RunPython.noop, elidable=True),
    ]
