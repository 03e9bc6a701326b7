"""Parses PowerPoint presentations: a page for each slide."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import EmptyDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.drawing_text import drawing_text
from ingestion_progress.pipeline.stages.parsers.embedded_parts import EmbeddedParts
from ingestion_progress.pipeline.stages.parsers.html import html_page
from ingestion_progress.pipeline.stages.parsers.ooxml import Package
from ingestion_progress.pipeline.stages.parsers.pptx_slide import SlideText


class PptxParser:
    def open(self, file: BinaryIO, name: str) -> PptxPages:
        return PptxPages(Package(file, name))


class PptxPages:
    """The slides in the order of the presentation. A hidden one is a warning."""

    def __init__(self, package: Package) -> None:
        self._package = package
        main = package.main_part()
        related = package.relationships(main)
        order = _SlideIds()
        package.read(main, order)
        self._slides = [related[key].target for key in order.ids if key in related]
        if not self._slides:
            raise EmptyDocument(StoredSentence("“%(name)s” has no slides.", name=package.name))

    def __len__(self) -> int:
        return len(self._slides)

    def __getitem__(self, index: int, /) -> Page:
        number, part = index + 1, self._slides[index]
        parts = EmbeddedParts(self._package)
        related = self._package.relationships(part)
        slide = SlideText(partial(parts.place, related))
        self._package.read(part, slide)
        if slide.is_hidden:
            warning = StoredSentence("Slide %(number)s is hidden and was left out.", number=number)
            return Page(number=number, text="", warnings=(warning,))
        notes = SlideText(lambda *_: None)
        for relationship in related.values():
            if relationship.kind == "notesSlide":
                self._package.read(relationship.target, notes)
            elif relationship.kind == "comments":
                notes.add_line(drawing_text(self._package, relationship.target))
        page = html_page(slide.html + notes.html, parts.pictures)
        return replace(page, number=number, heading=slide.title)


class _SlideIds:
    """The ids of their relationships."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "p:sldId":
            self.ids.append(attributes.get("r:id", ""))

    def end(self, tag: str) -> None: ...

    def text(self, text: str) -> None: ...
