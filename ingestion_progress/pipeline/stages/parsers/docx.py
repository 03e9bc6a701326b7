"""Parses Word documents: mammoth converts them to HTML."""

from typing import Any, BinaryIO

import mammoth

from ingestion_progress.pipeline.exceptions import DamagedDocument, EmptyDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.html import html_page
from ingestion_progress.pipeline.uploads.zip_safety import open_archive


class DocxParser:
    def open(self, file: BinaryIO, name: str) -> list[Page]:
        # First, because mammoth unpacks an archive of any size.
        open_archive(file, name).close()
        file.seek(0)
        embedded: dict[str, bytes] = {}
        try:
            html = mammoth.convert_to_html(
                file, convert_image=mammoth.images.img_element(_collector(embedded))
            ).value
        # mammoth does not wrap the errors of its XML and ZIP readers.
        except Exception as error:
            raise DamagedDocument(
                f"“{name}” is damaged: its parts cannot be read. Save or download it again."
            ) from error
        page = html_page(html, embedded)
        if not page.text and not page.pictures:
            raise EmptyDocument(f"“{name}” has no text.")
        return [page]


def _collector(embedded: dict[str, bytes]) -> Any:
    def collect(image: Any) -> dict[str, str]:
        source = f"embedded:{len(embedded)}"
        try:
            with image.open() as content:
                embedded[source] = content.read()
        except (OSError, KeyError):  # it is linked, or its part is missing
            embedded[source] = b""
        return {"src": source}

    return collect
