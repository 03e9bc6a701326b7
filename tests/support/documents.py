"""Documents for the tests: valid, damaged and hostile, generated or made from the examples."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from pypdf import PdfReader, PdfWriter

from ingestion_progress.pipeline.stores.embedded.connections import close_all
from tests.support.live import ROOT

EXAMPLES = ROOT / "examples" / "documents"
GUIDE = EXAMPLES / "reportlab-userguide.pdf"


@pytest.fixture
def storage(settings, tmp_path: Path) -> Iterator[Path]:
    """Uploads and vectors of this test only. The process of the vectors ends after it."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.INGESTION_PROGRESS_QDRANT_PATH = tmp_path / "qdrant"
    settings.INGESTION_PROGRESS_QDRANT_URL = ""
    yield tmp_path
    close_all()


def stored_files(storage: Path) -> list[Path]:
    return [path for path in (storage / "media").rglob("*") if path.is_file()]


def long_guide(folder: Path, copies: int = 3) -> Path:
    """The user guide several times in one file: a worker takes some seconds for it, so a test can
    interrupt it.
    """
    path = folder / "long-guide.pdf"
    if not path.exists():
        with PdfWriter() as writer:
            for _ in range(copies):
                writer.append(GUIDE)
            writer.write(path)
    return path


def pdf(pages: int = 3, *, first: int = 0, password: str | None = None, user: str = "") -> bytes:
    """Pages of the user guide; encrypted with AES if a password is given."""
    writer = PdfWriter()
    for page in PdfReader(GUIDE).pages[first : first + pages]:
        writer.add_page(page)
    if password is not None:
        writer.encrypt(user_password=user, owner_password=password, algorithm="AES-256")
    return written(writer)


def written(writer: PdfWriter) -> bytes:
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def archive(parts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in parts.items():
            file.writestr(name, data)
    return buffer.getvalue()


WORD_PARTS = {
    "[Content_Types].xml": b'<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/'
    b'package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.'
    b'openxmlformats-package.relationships+xml"/></Types>',
    "_rels/.rels": b'<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/'
    b'package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/'
    b'officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>'
    b"</Relationships>",
    "word/document.xml": b'<?xml version="1.0"?><w:document xmlns:w="http://schemas.'
    b'openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>Bees make honey.'
    b"</w:t></w:r></w:p></w:body></w:document>",
}


def docx(**parts: bytes) -> bytes:
    """A minimal Word document, with further parts if they are given."""
    return archive(WORD_PARTS | parts)


def png(width: int = 40, height: int = 30) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


def zip_bomb() -> bytes:
    """A Word document of some 60 KB that unpacks to 60 MB of zeros."""
    return docx(**{"word/document.xml": bytes(60 * 1024 * 1024)})
