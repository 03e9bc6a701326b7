import django.db.models.deletion
from django.db import migrations, models

import ingestion_progress.pipeline.models
from ingestion_progress.models.cascades import AddCascade, CascadingForeignKey


class Migration(migrations.Migration):
    """Three columns of documents stay in the database, for processes of the version before."""

    dependencies = [("ingestion_pipeline", "0009_editions_of_older_documents")]

    operations = [
        migrations.CreateModel(
            name="PendingVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=255)),
                (
                    "file",
                    models.FileField(
                        max_length=100, upload_to=ingestion_progress.pipeline.models.stored_path
                    ),
                ),
                ("media_type", models.CharField(max_length=100)),
                ("size_bytes", models.PositiveBigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "document",
                    CascadingForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pending_versions",
                        to="ingestion_pipeline.document",
                    ),
                ),
            ],
            options={"ordering": ["id"]},
        ),
        AddCascade("pendingversion", "document"),
        migrations.CreateModel(
            name="DeletedEdition",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("document_id", models.CharField(max_length=255)),
                (
                    "epoch",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        editable=False,
                        help_text="The attempt that has written it.",
                        max_length=16,
                    ),
                ),
                ("job_id", models.CharField(max_length=255)),
            ],
        ),
        migrations.AddField(
            model_name="edition",
            name="is_writable",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="False: a newer attempt of the job has claimed it.",
            ),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveField("document", name)
                for name in ("ingested_by", "writer_epoch", "replaced")
            ]
        ),
    ]
