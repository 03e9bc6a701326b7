"""Files of uploads that belong to no document."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from ingestion_progress.pipeline.models import Document, PendingVersion
from ingestion_progress.pipeline.uploads.receive import receive
from tests.support.documents import storage  # noqa: F401

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.database,
    pytest.mark.usefixtures("storage"),
]


def orphaned_uploads(*args: str) -> list[str]:
    out = io.StringIO()
    call_command("orphaned_uploads", *args, stdout=out)
    return out.getvalue().splitlines()


def files() -> set[str]:
    return {
        f"documents/{path.name}" for path in (Path(settings.MEDIA_ROOT) / "documents").iterdir()
    }


def test_without_uploads_there_is_nothing():
    assert orphaned_uploads() == []


def test_only_old_files_of_no_document_are_listed_and_deleted():
    receive(io.BytesIO(b"Bees make honey."), name="a.txt", is_enqueued=False)
    (kept,) = files()
    folder = Path(settings.MEDIA_ROOT) / "documents"
    old = time.time() - 2 * 86_400
    for name in ("restorable.txt", "orphan.txt", "young.txt"):
        (folder / name).write_bytes(b"")
    for path in folder.iterdir():
        if path.name != "young.txt":
            os.utime(path, (old, old))
    fields = {"file": "documents/restorable.txt", "size_bytes": 1}
    PendingVersion.objects.create(document=Document.objects.get(), **fields)
    everything = files()

    assert orphaned_uploads() == ["documents/orphan.txt"]
    assert files() == everything
    assert orphaned_uploads("--older-than", "3d") == []
    assert orphaned_uploads("--delete") == ["documents/orphan.txt"]
    assert files() == everything - {"documents/orphan.txt"}
    assert kept in files()
