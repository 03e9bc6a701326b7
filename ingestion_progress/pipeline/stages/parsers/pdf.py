"""Parses PDF page by page. Reads only the headers of pictures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, BinaryIO

from pypdf import PdfReader
from pypdf.errors import DependencyError, PyPdfError

from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    EmptyDocument,
    ProtectedDocument,
    UnreadablePage,
)
from ingestion_progress.pipeline.stages import Page, Picture
from ingestion_progress.pipeline.stages.parsers.pictures import MAX_PICTURES, MIN_PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterator


# Readers search for the end mark in the last kilobyte; mail servers append some bytes.
TAIL_BYTES = 2048
MAX_FORM_DEPTH = 3
CAPTION = re.compile(
    r"^[^\S\n]*((?:Figure|Fig\.|Image|Picture|Abbildung)\s+\d[^\n]{0,200})", re.MULTILINE
)
FORMATS = {
    "/DCTDecode": "JPEG",
    "/JPXDecode": "JPEG 2000",
    "/CCITTFaxDecode": "fax",
    "/JBIG2Decode": "JBIG2",
}
# What pypdf raises for broken files. RuntimeError includes RecursionError.
BROKEN: tuple[type[Exception], ...] = (PyPdfError, ArithmeticError, AssertionError, AttributeError)
BROKEN += (LookupError, OSError, RuntimeError, TypeError, ValueError)


class PdfParser:
    def open(self, file: BinaryIO, name: str) -> PdfPages:
        _check_end(file, name)
        try:
            reader = PdfReader(file, strict=False)
            if reader.is_encrypted and not reader.decrypt(""):
                raise ProtectedDocument(
                    f"“{name}” is protected by a password. Save it without one and try again."
                )
            page_count = len(reader.pages)
        except DependencyError as error:
            raise ProtectedDocument(f"“{name}” is encrypted in a way that is not known.") from error
        except BROKEN as error:
            raise DamagedDocument(
                f"“{name}” is damaged: its pages cannot be found. Export or download it again."
            ) from error
        if not page_count:
            raise EmptyDocument(f"“{name}” has 0 pages.")
        return PdfPages(reader, page_count)


class PdfPages:
    def __init__(self, reader: PdfReader, page_count: int) -> None:
        self._reader = reader
        self._count = page_count
        self._headings = _outline(reader)
        self._seen: set[tuple[int, int]] = set()
        self._pictures = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> Page:
        number = index + 1
        try:
            page = self._reader.pages[index]
            text = page.extract_text()
        except BROKEN as error:
            raise UnreadablePage(f"Page {number} is damaged and was left out.") from error
        # Lone surrogates, which broken font maps produce, can be neither stored nor sent.
        text = text.replace("\0", "").encode("utf-8", "replace").decode()
        pictures, warnings = self._pictures_of(page, number, text)
        if pictures and not text.strip():
            warnings.append(f"Page {number} has no text layer: words in its pictures are not read.")
        return Page(
            number=number,
            text=text,
            heading=self._heading_at(index),
            pictures=tuple(pictures),
            warnings=tuple(warnings),
        )

    def _pictures_of(self, page: Any, number: int, text: str) -> tuple[list[Picture], list[str]]:
        captions = iter(CAPTION.findall(text))
        pictures: list[Picture] = []
        try:
            for image in _images(page, MAX_FORM_DEPTH):
                if not self._is_new(image) or self._pictures >= MAX_PICTURES:
                    continue
                self._pictures += 1
                pictures.append(
                    Picture(
                        number=self._pictures,
                        page=number,
                        format=_format(image),
                        width=_pixels(image, "/Width"),
                        height=_pixels(image, "/Height"),
                        caption=next(captions, "").strip(),
                        heading=self._heading_at(number - 1),
                    )
                )
        except BROKEN:
            return pictures, [f"The pictures of page {number} could not all be read."]
        return pictures, []

    def _is_new(self, image: Any) -> bool:
        """False for thin lines, and for a picture that an earlier page has, such as a logo."""
        if any(0 < _pixels(image, side) < MIN_PIXELS for side in ("/Width", "/Height")):
            return False
        reference = image.indirect_reference
        key = (reference.idnum, reference.generation) if reference else (0, id(image))
        is_new = key not in self._seen
        self._seen.add(key)
        return is_new

    def _heading_at(self, index: int) -> str:
        """The title of the last section that begins on or before this page."""
        earlier = [at for at in self._headings if at <= index]
        return self._headings[max(earlier)] if earlier else ""


def _check_end(file: BinaryIO, name: str) -> None:
    """pypdf reads a truncated file without an error, but with fewer pages."""
    file.seek(0, 2)
    file.seek(max(0, file.tell() - TAIL_BYTES))
    if b"%%EOF" not in file.read():
        raise DamagedDocument(f"“{name}” is cut off: its end is missing. Download it again.")
    file.seek(0)


def _outline(reader: PdfReader) -> dict[int, str]:
    """The first section title by page index; empty if the outline is broken."""
    headings: dict[int, str] = {}
    try:
        _collect_titles(reader, reader.outline, headings)
    except BROKEN:
        return {}
    return headings


def _collect_titles(reader: PdfReader, entries: list[Any], headings: dict[int, str]) -> None:
    for entry in entries:
        if isinstance(entry, list):
            _collect_titles(reader, entry, headings)
        else:
            page = reader.get_destination_page_number(entry)
            if page is not None and page >= 0:
                headings.setdefault(page, str(entry.title or "").strip())


def _images(container: Any, depth: int) -> Iterator[Any]:
    """The image objects of a page, including those in its form objects."""
    resources = container.get("/Resources")
    objects = resources.get_object().get("/XObject") if resources is not None else None
    for value in (objects.get_object() if objects is not None else {}).values():
        inner = value.get_object()
        if inner.get("/Subtype") == "/Image":
            yield inner
        elif inner.get("/Subtype") == "/Form" and depth:
            yield from _images(inner, depth - 1)


def _format(image: Any) -> str:
    filters = image.get("/Filter", [])
    names = [str(name) for name in (filters if isinstance(filters, list) else [filters])]
    return next((FORMATS[name] for name in names if name in FORMATS), "bitmap")


def _pixels(image: Any, side: str) -> int:
    value = image.get(side, 0)
    value = value.get_object() if hasattr(value, "get_object") else value
    return int(value) if isinstance(value, int) and value > 0 else 0
