from typing import Any

from django.db import migrations, models


def add_unknown_language(apps: Any, schema_editor: Any) -> None:
    """Chunks of older versions have no language, and are found as they were."""
    alias = schema_editor.connection.alias
    if apps.get_model("ingestion_pipeline", "Document").objects.using(alias).exists():
        languages = apps.get_model("ingestion_pipeline", "IndexedLanguage").objects.using(alias)
        languages.bulk_create([languages.model(code="")], ignore_conflicts=True)


class Migration(migrations.Migration):

    dependencies = [
        ('ingestion_pipeline', '0010_pending_versions'),
    ]

    operations = [
        migrations.CreateModel(
            name='IndexedLanguage',
            fields=[
                ('code', models.CharField(blank=True, help_text='Of ISO 639, as `de`. Empty: an older version wrote chunks, or it is unknown.', max_length=8, primary_key=True, serialize=False)),
            ],
            options={
                'ordering': ['code'],
            },
        ),
        migrations.RunPython(add_unknown_language, migrations.RunPython.noop, elidable=True),
    ]
