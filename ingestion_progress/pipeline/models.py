"""Stored uploads, and the graph of entities and relations that an ingestion writes."""

import uuid

from django.db import models
from django.db.models import F, Q

from ingestion_progress.models.cascades import CascadingForeignKey
from ingestion_progress.pipeline.uploads.names import MAX_NAME_LENGTH, extension

MAX_KEY_LENGTH = 200


def epoch_field(help_text: str) -> "models.CharField[str, str]":
    """Empty for what was written before there were editions."""
    return models.CharField(
        max_length=16, blank=True, default="", db_default="", editable=False, help_text=help_text
    )


def language_field() -> "models.CharField[str, str]":
    return models.CharField(
        max_length=8,
        blank=True,
        default="",
        db_default="",
        help_text="As given with the upload, a code of ISO 639. Empty: it is detected.",
    )


def stored_path(document: "Document", name: str) -> str:
    """The path of a stored upload, which keeps only the extension of the user's file name."""
    return f"documents/{uuid.uuid4().hex}{extension(name).lower()}"


class Document(models.Model):
    """A stored upload. Its file is that of the version that search shows, or of its first one.

    A later upload of the same document is a `PendingVersion` until it is ingested.
    """

    id = models.CharField(primary_key=True, max_length=MAX_NAME_LENGTH)
    name = models.CharField(max_length=MAX_NAME_LENGTH)
    file = models.FileField(upload_to=stored_path, max_length=100)
    media_type = models.CharField(max_length=100)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    language = language_field()
    published_epoch = epoch_field("The attempt whose vectors and graph search shows.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name", "id"]
        indexes = [models.Index(fields=["name"], name="pipeline_document_name")]
        constraints = [
            models.CheckConstraint(name="pipeline_document_id_not_empty", condition=~Q(id="")),
            models.CheckConstraint(
                name="pipeline_document_not_empty", condition=Q(size_bytes__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PendingVersion(models.Model):
    """The file of a newer version of a document, until search shows that version."""

    document = CascadingForeignKey(
        Document, on_delete=models.CASCADE, related_name="pending_versions"
    )
    name = models.CharField(max_length=MAX_NAME_LENGTH)
    file = models.FileField(upload_to=stored_path, max_length=100)
    media_type = models.CharField(max_length=100)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    language = language_field()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]  # the order of the uploads

    def __str__(self) -> str:
        return f"{self.document_id} {self.sha256[:12]}"


class Edition(models.Model):
    """What one attempt has written of a document. It is hidden unless the document names it."""

    document = CascadingForeignKey(Document, on_delete=models.CASCADE, related_name="editions")
    epoch = epoch_field("The attempt that writes it.")
    job_id = models.CharField(
        max_length=MAX_NAME_LENGTH, blank=True, help_text="Empty: no attempt continues it."
    )
    version = models.CharField(max_length=64, blank=True, help_text="The job's document version.")
    is_writable = models.BooleanField(
        default=True, db_default=True, help_text="False: a newer attempt of the job has claimed it."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["document", "epoch"], name="pipeline_edition_once")
        ]

    def __str__(self) -> str:
        return f"{self.document_id} {self.epoch}"


class DeletedEdition(models.Model):
    """An edition of a deleted document, until its job has ended and its chunks are discarded."""

    document_id = models.CharField(max_length=MAX_NAME_LENGTH)
    epoch = epoch_field("The attempt that has written it.")
    job_id = models.CharField(max_length=MAX_NAME_LENGTH)

    def __str__(self) -> str:
        return f"{self.document_id} {self.epoch}"


class IndexedLanguage(models.Model):
    """A language of chunks in the search index, in which queries are analysed."""

    code = models.CharField(
        primary_key=True,
        max_length=8,
        blank=True,
        help_text="Of ISO 639, as `de`. Empty: an older version wrote chunks, or it is unknown.",
    )

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return self.code or "unknown"


class ParsedPage(models.Model):
    """A page that a running job has parsed: kept until the job ends."""

    job_id = models.CharField(max_length=MAX_NAME_LENGTH)
    version = models.CharField(max_length=64, help_text="SHA-256 of the document.")
    index = models.PositiveIntegerField(help_text="From 0.")
    content = models.TextField(help_text="A `Page` as JSON.")
    page_count = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Of the whole document; 0 if an older version wrote it."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["job_id", "version", "index"], name="pipeline_parsed_page_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.job_id} {self.index}"


class ImageDescription(models.Model):
    """The description of a picture by a running job: kept until the job ends."""

    job_id = models.CharField(max_length=MAX_NAME_LENGTH)
    version = models.CharField(max_length=64, help_text="SHA-256 of the document.")
    index = models.PositiveIntegerField(help_text="The number of the picture, from 1.")
    content = models.TextField(help_text="The text as JSON.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["job_id", "version", "index"], name="pipeline_image_description_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.job_id} {self.index}"


class ModelAnswer(models.Model):
    """An answer of a model that was paid for. It is deleted with the document that asked first, or
    when newer answers need the room.
    """

    key = models.CharField(
        primary_key=True, max_length=64, help_text="SHA-256 of the endpoint and the question."
    )
    document = CascadingForeignKey(
        Document, on_delete=models.CASCADE, null=True, related_name="model_answers"
    )
    content = models.TextField(help_text="JSON.")
    size_bytes = models.PositiveIntegerField()
    used_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.key


class Entity(models.Model):
    """A node of the graph: something that a document mentions."""

    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="entities")
    epoch = epoch_field("The attempt that wrote it.")
    key = models.CharField(max_length=MAX_KEY_LENGTH, help_text="The name in lower case.")
    name = models.CharField(max_length=MAX_KEY_LENGTH, help_text="The name as first written.")
    evidence = models.JSONField(
        default=list, help_text="Mentions: a list of {chunk, page} in order of ingestion."
    )

    class Meta:
        ordering = ["document", "key"]
        verbose_name_plural = "entities"
        indexes = [models.Index(fields=["key"], name="pipeline_entity_key")]
        constraints = [
            models.UniqueConstraint(
                fields=["document", "epoch", "key"], name="pipeline_entity_once"
            ),
            models.CheckConstraint(name="pipeline_entity_key_not_empty", condition=~Q(key="")),
        ]

    def __str__(self) -> str:
        return self.name


class Relation(models.Model):
    """An undirected edge of the graph: two entities that occur in one sentence."""

    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="relations")
    epoch = epoch_field("The attempt that wrote it.")
    source = models.ForeignKey(Entity, on_delete=models.CASCADE, related_name="relations_out")
    target = models.ForeignKey(Entity, on_delete=models.CASCADE, related_name="relations_in")
    evidence = models.JSONField(
        default=list, help_text="Mentions: a list of {chunk, page} in order of ingestion."
    )

    class Meta:
        ordering = ["document", "source", "target"]
        constraints = [
            models.UniqueConstraint(
                fields=["document", "source", "target"], name="pipeline_relation_once"
            ),
            models.CheckConstraint(
                name="pipeline_relation_between_two", condition=~Q(source=F("target"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} and {self.target}"
