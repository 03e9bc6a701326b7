"""What an upload replaces, and what comes back where no task queue takes it.

A queue outside of the database is asked once the upload is committed, and may refuse. Others of the
same document may have come meanwhile, in any process, and may be taken or refused in any order. So
the document's row keeps what may come back: in the end it is the newest upload that was taken, or
what was there before, and of all the files that one is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import router, transaction

from ingestion_progress.pipeline.models import Document

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import QuerySet

    Version = dict[str, str]

# What uploading a document again changes.
REPLACED = ["name", "file", "media_type", "size_bytes", "sha256", "updated_at"]


class Replacement:
    """An upload whose file is stored, in the place of what is there. Made, then kept or undone."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._using = router.db_for_write(Document)
        self.is_committed = False

    def make(self) -> None:
        """In the transaction of the upload."""
        document = self._document
        while (row := self._locked()) is None:
            # It waits for another upload that makes the row at the same time.
            self._rows().bulk_create([document], ignore_conflicts=True)
        if row.file.name != document.file.name:
            document.replaced = _versions(row)
            document.save(using=self._using, update_fields=[*REPLACED, "replaced"])
        transaction.on_commit(self._note_commit, using=self._using)

    def keep(self) -> None:
        """It was taken: nothing before it comes back."""
        if self._document.replaced:
            self._settle(lambda versions, place: versions[place:])

    def undo(self) -> None:
        """It was refused: what it replaced comes back, unless another one has replaced it since."""
        self._settle(lambda versions, place: versions[:place] + versions[place + 1 :])

    def _settle(self, remaining: Callable[[list[Version], int], list[Version]]) -> None:
        with transaction.atomic(using=self._using):
            row = self._locked()
            versions = [] if row is None else _versions(row)
            files = [version["file"] for version in versions]
            if row is None or self._document.file.name not in files:
                return  # a newer one was taken, and has removed its file
            kept = remaining(versions, files.index(self._document.file.name))
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

    def _note_commit(self) -> None:
        self.is_committed = True


def _versions(row: Document) -> list[Version]:
    """All that a document may be in the end, the newest last."""
    fields = (field for field in Document._meta.concrete_fields if field.name in REPLACED)
    return [*row.replaced, {field.name: field.value_to_string(row) for field in fields}]
