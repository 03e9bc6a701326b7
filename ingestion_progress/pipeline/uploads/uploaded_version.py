"""A stored upload becomes a version of its document, or disappears if no task queue accepts it.

A queue outside the database is called after the upload is committed, and may refuse it. Meanwhile
other processes may upload the same document, and their uploads may be accepted or refused in any
order.
"""

from django.db import router, transaction
from django.db.models import QuerySet

from ingestion_progress.pipeline.documents.versions import (
    FIELDS,
    delete_files_on_commit,
    drop_ended,
    pending_versions,
)
from ingestion_progress.pipeline.models import Document, PendingVersion


class UploadedVersion:
    """A version whose file is stored: first saved with its job, then accepted or reverted."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._using = router.db_for_write(Document)
        self._pending: PendingVersion | None = None
        self.is_committed = False

    def save(self) -> None:
        """Runs in the transaction of the upload, which locks the document."""
        document = self._document
        if lock(document).file.name != document.file.name:
            fields = {name: getattr(document, name) for name in FIELDS}
            self._pending = pending_versions(document.pk).create(document=document, **fields)
        transaction.on_commit(lambda: setattr(self, "is_committed", True), using=self._using)

    def accept(self) -> None:
        """Drops older versions that no job is to ingest any more."""
        if self._pending is not None:
            drop_ended(self._document.pk, before=self._pending.pk)

    def revert(self) -> None:
        with transaction.atomic(using=self._using):
            row = self._rows().select_for_update().filter(pk=self._document.pk).first()
            if row is None:
                return
            if row.file.name == self._document.file.name:
                self._replace(row)
            elif self._pending is not None:
                self._pending.delete()
            delete_files_on_commit(row.file.storage, {self._document.file.name})

    def _replace(self, row: Document) -> None:
        """By the oldest upload that was made since, if there is one."""
        following = pending_versions(row.pk).first()
        if following is None:
            row.delete()
            return
        fields = {name: getattr(following, name) for name in FIELDS}
        self._rows().filter(pk=row.pk).update(**fields)
        following.delete()

    def _rows(self) -> QuerySet[Document]:
        return Document.objects.using(self._using)


def lock(document: Document) -> Document:
    """The document's row, locked until the end of the transaction; created if there is none."""
    rows = Document.objects.using(router.db_for_write(Document))
    while (row := rows.select_for_update().filter(pk=document.pk).first()) is None:
        # Waits for another upload that creates the row at the same time.
        rows.bulk_create([document], ignore_conflicts=True)
    return row
