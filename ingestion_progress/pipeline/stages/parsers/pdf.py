"""Parses PDF page by page with PDFium. Reads only the headers of pictures, except for `picture`."""

from __future__ import annotations

import re
import threading
from contextlib import closing, suppress
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import pypdfium2
from pypdfium2 import PdfiumError, raw

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    EmptyDocument,
    UnreadableDocument,
    UnreadableImage,
    UnreadablePage,
)
from ingestion_progress.pipeline.stages import Page, Pages, Picture
from ingestion_progress.pipeline.stages.parsers.headers_and_footers import (
    REACH,
    without_headers_and_footers,
)
from ingestion_progress.pipeline.stages.parsers.pdf_notes import notes_of
from ingestion_progress.pipeline.stages.parsers.pdf_samples import (
    has_unnamed_letters,
    uses_standard_fonts,
)
from ingestion_progress.pipeline.stages.parsers.pdf_words import (
    with_apart_footnote_marks,
    with_spaces_of_moves,
)
from ingestion_progress.pipeline.stages.parsers.picture_files import MAX_PIXELS, as_png
from ingestion_progress.pipeline.stages.parsers.pictures import MAX_PICTURES, MIN_PIXELS
from ingestion_progress.pipeline.stages.parsers.pypdf_pages import PypdfPages
from ingestion_progress.pipeline.stages.parsers.scans import MAX_FORM_DEPTH, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPTION = re.compile(
    r"^[^\S\n]*((?:Figure|Fig\.|Image|Picture|Abbildung)\s+\d[^\n]{0,200})", re.MULTILINE
)
FORMATS = {
    "DCTDecode": "JPEG",
    "JPXDecode": "JPEG 2000",
    "CCITTFaxDecode": "fax",
    "JBIG2Decode": "JBIG2",
}
LIGATURES = re.compile(rb"/(?:ff[il]?|f_f(?:_[il])?|ObjStm)\b")
# PDFium's mark for a hyphen at the end of a line, which it removes with the end of the line.
END_HYPHEN = re.compile("(.?)\ufffe(.?)", re.DOTALL)

# PDFium is not thread-safe, whatever its documents are.
_pdfium = threading.RLock()


class PdfParser:
    def open(self, file: BinaryIO, name: str) -> Pages:
        file.seek(0)
        data = file.read()
        _check_end(data, name)
        with _pdfium:
            try:
                document = pypdfium2.PdfDocument(data)
                page_count = len(document)
            except PdfiumError:  # whose code may be that of an earlier document
                return PypdfPages(data, name)
        if not page_count:
            raise EmptyDocument(StoredSentence("“%(name)s” has 0 pages.", name=name))
        return PdfPages(document, data, name)


class PdfPages:
    """The pages of a PDF, and a context manager that closes the document."""

    def __init__(self, document: pypdfium2.PdfDocument, data: bytes, name: str) -> None:
        self._document = document
        self._data, self._name = data, name
        self._count = len(document)
        self._form = None
        with _pdfium:
            if document.get_formtype() not in (raw.FORMTYPE_NONE, -1):
                document.init_forms()
                self._form = document.formenv
            self._headings = _outline(document)
            # Fonts in compressed objects may name them too.
            self._may_have_ligatures = LIGATURES.search(data) is not None
            self._has_moves_as_spaces = "Ghostscript" in document.get_metadata_value("Producer")
        self._texts: dict[int, str] = {}
        self._unnamed: set[int] = set()
        self._seen: set[bytes] = set()
        self._pictures = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with _pdfium:
            self._document.close()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> Page:
        number = index + 1
        with _pdfium:
            try:
                page = self._document[index]
            except PdfiumError as error:
                raise _damaged(number) from error
            with closing(page):
                return self._read(page, index)

    def _read(self, page: pypdfium2.PdfPage, index: int) -> Page:
        number = index + 1
        if not raw.FPDFPage_CountObjects(page) and not raw.FPDFPage_GetAnnotCount(page):
            # A page of which PDFium can decode nothing looks like an empty one.
            return Page(
                number=number, text=self._by_pypdf[index].text, heading=self._heading_at(index)
            )
        near = range(max(0, index - REACH), min(self._count, index + REACH + 1))
        self._texts = {at: self._text_at(at) for at in near}
        text, unread = without_headers_and_footers(self._texts, index), ""
        text = "\n".join(filter(None, [text, *notes_of(page, self._form)]))
        if not text.strip():
            text, unread = words_of(page, number, has_letters=index in self._unnamed)
        pictures, warnings = self._pictures_of(page, number, text)
        return Page(
            number=number,
            text=text,
            heading=self._heading_at(index),
            pictures=tuple(pictures),
            warnings=tuple(warnings),
            unread=unread,
        )

    @cached_property
    def _by_pypdf(self) -> PypdfPages:
        return PypdfPages(self._data, self._name)

    def _text_at(self, index: int) -> str:
        """Empty if the page is damaged, or `_unnamed`. Kept while pages that are near are read."""
        if index in self._texts:
            return self._texts[index]
        try:
            with closing(self._document[index]) as page, closing(page.get_textpage()) as text_page:
                text = text_page.get_text_range()
                if has_unnamed_letters(text_page):
                    self._unnamed.add(index)
                    return ""
                if self._may_have_ligatures and (whole := self._with_ligatures(text_page, index)):
                    return whole
                text = with_apart_footnote_marks(text_page, text)
                if self._has_moves_as_spaces:
                    text = with_spaces_of_moves(text_page, text)
        except PdfiumError:
            return ""
        text = END_HYPHEN.sub(_joined, text)
        # Lone surrogates, which broken font maps produce, can be neither stored nor sent.
        text = text.replace("\0", "").encode("utf-8", "replace").decode()
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _with_ligatures(self, text_page: pypdfium2.PdfTextPage, index: int) -> str:
        """The text by pypdf if PDFium drops letters: those that its standard fonts lack."""
        with suppress(UnreadableDocument, UnreadablePage):
            if uses_standard_fonts(text_page) and self._by_pypdf.has_ligatures(index):
                return self._by_pypdf[index].text
        return ""

    def _pictures_of(
        self, page: pypdfium2.PdfPage, number: int, text: str
    ) -> tuple[list[Picture], list[str]]:
        captions = iter(CAPTION.findall(text))
        pictures: list[Picture] = []
        warnings = []
        try:
            for reference, image in enumerate(_images(page)):
                width, height = image.get_px_size()
                if not self._is_new(image, width, height) or self._pictures >= MAX_PICTURES:
                    continue
                self._pictures += 1
                pictures.append(
                    Picture(
                        number=self._pictures,
                        page=number,
                        format=_format(image),
                        width=width,
                        height=height,
                        reference=reference,
                        caption=next(captions, "").strip(),
                        heading=self._heading_at(number - 1),
                    )
                )
        except PdfiumError:
            warnings.append(f"The pictures of page {number} could not all be read.")
        return pictures, warnings

    def picture(self, index: int, reference: int) -> bytes:
        """The image object at `reference` among those of the page."""
        with _pdfium:
            try:
                with closing(self._document[index]) as page:
                    image = next(islice(_images(page), reference, None))
                    width, height = image.get_px_size()
                    if width * height > MAX_PIXELS:
                        raise UnreadableImage(
                            StoredSentence("A picture has too many pixels to be looked at.")
                        )
                    return as_png(image.get_bitmap().to_pil())
            except (PdfiumError, StopIteration, ValueError) as error:
                raise UnreadableImage(StoredSentence("A picture of the PDF is damaged.")) from error

    def _is_new(self, image: Any, width: int, height: int) -> bool:
        """False for thin lines, and for a picture that an earlier page has, such as a logo."""
        if 0 < width < MIN_PIXELS or 0 < height < MIN_PIXELS:
            return False
        key = blake2b(bytes(image.get_data()), digest_size=16).digest()
        is_new = key not in self._seen
        self._seen.add(key)
        return is_new

    def _heading_at(self, index: int) -> str:
        """The title of the last section that begins on or before this page."""
        earlier = [at for at in self._headings if at <= index]
        return self._headings[max(earlier)] if earlier else ""


def _images(page: pypdfium2.PdfPage) -> Iterator[Any]:
    return page.get_objects([raw.FPDF_PAGEOBJ_IMAGE], max_depth=MAX_FORM_DEPTH)  # type: ignore[no-any-return]


def _check_end(data: bytes, name: str) -> None:
    """PDFium reads a truncated file without an error, but with fewer pages.

    Programs append all kinds of bytes to a whole file. Its end is the last `startxref`, which
    follows the last object.
    """
    if data.rfind(b"startxref") < data.rfind(b"endobj"):
        raise DamagedDocument(
            StoredSentence(
                "“%(name)s” is cut off: its end is missing. Download it again.", name=name
            )
        )


def _joined(divided: re.Match[str]) -> str:
    """Before a capital it was a compound, as "Anglo-Saxon", unless all letters are capitals."""
    before, after = divided.groups()
    is_compound = after.isupper() and not before.isupper()
    return f"{before}-{after}" if is_compound else f"{before}{after}"


def _damaged(number: int) -> UnreadablePage:
    return UnreadablePage(
        StoredSentence("Page %(number)s is damaged and was left out.", number=number)
    )


def _outline(document: pypdfium2.PdfDocument) -> dict[int, str]:
    """The first section title by page index; empty if the outline is broken."""
    headings: dict[int, str] = {}
    try:
        for title, index in _titles(document):
            if index is not None and index >= 0:
                headings.setdefault(index, title.strip())
    except PdfiumError:
        return {}
    return headings


def _titles(document: pypdfium2.PdfDocument) -> Iterator[tuple[str, int | None]]:
    for entry in document.get_toc():
        target = entry.get_dest()
        yield entry.get_title(), target.get_index() if target else None


def _format(image: Any) -> str:
    return next((FORMATS[name] for name in image.get_filters() if name in FORMATS), "bitmap")
