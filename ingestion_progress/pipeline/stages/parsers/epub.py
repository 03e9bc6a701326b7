"""Parses EPUB books: a page for each chapter, as the book orders them."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from typing import BinaryIO
from urllib.parse import unquote

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.encodings import decode
from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    ProtectedDocument,
    UnreadablePage,
)
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.html import html_page
from ingestion_progress.pipeline.stages.parsers.ooxml import Package
from ingestion_progress.pipeline.stages.parsers.pictures import PictureFiles

CONTAINER, ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
CHAPTERS = {"application/xhtml+xml", "text/html", "application/x-dtbook+xml"}
# Only fonts are encrypted in these ways, which need no key.
FONT_METHODS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
MAX_CHAPTER_BYTES = 50 * 1024 * 1024
FIRST_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


class EpubParser:
    def open(self, file: BinaryIO, name: str) -> EpubPages:
        return EpubPages(Package(file, name))


class EpubPages:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._check_encryption()
        container = _Attributes("rootfile", "full-path")
        package.read(CONTAINER, container)
        main = next(iter(container.values), "")
        book = _Book(posixpath.dirname(main))
        package.read(main, book)
        self._chapters = book.chapters()
        if not self._chapters:
            raise DamagedDocument(
                StoredSentence(
                    "“%(name)s” is damaged: it has no list of chapters.", name=package.name
                )
            )

    def __len__(self) -> int:
        return len(self._chapters)

    def __getitem__(self, index: int, /) -> Page:
        number, part = index + 1, self._chapters[index]
        if part not in self._package:
            raise UnreadablePage(
                StoredSentence(
                    "Chapter %(number)s is missing in the file and was left out.", number=number
                )
            )
        try:
            source = decode(self._package.head(part, MAX_CHAPTER_BYTES), is_markup=True)
            page = html_page(source.text, _Pictures(self._package, part))
        except DamagedDocument as error:
            raise UnreadablePage(
                StoredSentence("Chapter %(number)s is damaged and was left out.", number=number)
            ) from error
        heading = FIRST_HEADING.search(page.text)
        return replace(
            page,
            number=number,
            heading=heading[1] if heading else "",
            warnings=source.warnings,
        )

    def _check_encryption(self) -> None:
        methods = _Attributes("EncryptionMethod", "Algorithm")
        self._package.read(ENCRYPTION, methods)
        if any(method not in FONT_METHODS for method in methods.values):
            raise ProtectedDocument(
                StoredSentence(
                    "“%(name)s” is protected against copies, so it cannot be read. Ingest "
                    "an edition without protection.",
                    name=self._package.name,
                )
            )


class _Pictures(PictureFiles):
    """The pictures of the book by their addresses in a chapter."""

    def __init__(self, package: Package, chapter: str) -> None:
        self._package, self._folder = package, posixpath.dirname(chapter)

    def __getitem__(self, source: str) -> bytes:
        return self._package.head(self._part(source))

    def content(self, source: str) -> bytes:
        return self._package.file(self._part(source))

    def _part(self, source: str) -> str:
        part = _resolved(self._folder, source)
        if ":" in source or part not in self._package:
            raise KeyError(source)
        return part


class _Attributes:
    """The values of one attribute of all elements of one name."""

    def __init__(self, tag: str, attribute: str) -> None:
        self.values: list[str] = []
        self._tag, self._attribute = tag, attribute

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == self._tag and self._attribute in attributes:
            self.values.append(attributes[self._attribute])

    def end(self, tag: str) -> None: ...

    def text(self, text: str) -> None: ...


class _Book:
    """The list of files and the order of chapters in a package document."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files: dict[str, str] = {}
        self._order: list[str] = []

    def chapters(self) -> list[str]:
        return [self._files[key] for key in dict.fromkeys(self._order) if key in self._files]

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "item" and attributes.get("media-type", "").lower() in CHAPTERS:
            href = attributes.get("href", "")
            self._files[attributes.get("id", "")] = _resolved(self._folder, href)
        elif tag == "itemref":
            self._order.append(attributes.get("idref", ""))

    def end(self, tag: str) -> None: ...

    def text(self, text: str) -> None: ...


def _resolved(folder: str, address: str) -> str:
    path = unquote(address.partition("#")[0])
    return posixpath.normpath(posixpath.join("/", folder, path)).lstrip("/")
