"""Stored files that belong to no document, such as those of a process that was killed."""

import posixpath
from collections.abc import Iterator
from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from ingestion_progress.pipeline.models import Document, PendingVersion, stored_path


def orphaned_files(older_than: timedelta) -> Iterator[str]:
    """Their paths in the storage. A younger file may be that of an upload in progress."""
    storage = Document._meta.get_field("file").storage
    folder = posixpath.dirname(stored_path(Document(), ""))
    try:
        names = storage.listdir(folder)[1]
    except FileNotFoundError:
        return
    known = set(_known_files())
    before = timezone.now() - older_than
    for path in sorted(posixpath.join(folder, name) for name in names):
        if path not in known and storage.get_modified_time(path) < before:
            yield path


def delete(path: str) -> None:
    Document._meta.get_field("file").storage.delete(path)


def _known_files() -> Iterator[str]:
    """The files of all documents and their pending versions."""
    for model in (Document, PendingVersion):
        yield from QuerySet(model).values_list("file", flat=True).iterator()
