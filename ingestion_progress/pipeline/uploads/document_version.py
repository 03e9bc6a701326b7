"""Replaces a document by an uploaded version, and restores it if no task queue accepts that one.

A queue outside the database is called after the upload is committed, and may refuse it. Meanwhile
other processes may upload the same document, and their uploads may be accepted or refused in any
order. So the row of the document keeps the versions that may be restored. In the end the newest
accepted version remains, or the one before the uploads, and only its file is kept.
"""

from collections.abc import Callable
from typing import TypeAlias

from django.db import router, transaction
from django.db.models import QuerySet

from ingestion_progress.pipeline.models import Document

Fields: TypeAlias = dict[str, str]

VERSIONED_FIELDS = ["name", "file", "media_type", "size_bytes", "sha256", "updated_at"]


class DocumentVersion:
    """An uploaded version whose file is stored: first made current, then accepted or reverted."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._using = router.db_for_write(Document)
        self.is_committed = False

    def make_current(self) -> None:
        """Runs in the transaction of the upload."""
        document = self._document
        while (row := self._locked()) is None:
            # Waits for another upload that creates the row at the same time.
            self._rows().bulk_create([document], ignore_conflicts=True)
        if row.file.name != document.file.name:
            document.replaced = _versions(row)
            document.save(using=self._using, update_fields=[*VERSIONED_FIELDS, "replaced"])
        transaction.on_commit(lambda: setattr(self, "is_committed", True), using=self._using)

    def accept(self) -> None:
        if self._document.replaced:
            self._keep(lambda versions, index: versions[index:])

    def revert(self) -> None:
        """Discards this version. If it is still the current one, the one before it is restored."""
        self._keep(lambda versions, index: versions[:index] + versions[index + 1 :])

    def _keep(self, select: Callable[[list[Fields], int], list[Fields]]) -> None:
        with transaction.atomic(using=self._using):
            row = self._locked()
            versions = [] if row is None else _versions(row)
            files = [version["file"] for version in versions]
            if row is None or self._document.file.name not in files:
                return  # a newer version was accepted, which deleted this file
            kept = select(versions, files.index(self._document.file.name))
            if kept:
                self._rows().filter(pk=row.pk).update(**kept[-1], replaced=kept[:-1])
            else:
                row.delete(using=self._using)
        for name in set(files) - {version["file"] for version in kept}:
            self._document.file.storage.delete(name)

    def _locked(self) -> Document | None:
        return self._rows().select_for_update().filter(pk=self._document.pk).first()

    def _rows(self) -> QuerySet[Document]:
        return Document.objects.using(self._using)


def _versions(row: Document) -> list[Fields]:
    """The versions that a document may have in the end, the newest last."""
    fields = (field for field in Document._meta.concrete_fields if field.name in VERSIONED_FIELDS)
    return [*row.replaced, {field.name: field.value_to_string(row) for field in fields}]
