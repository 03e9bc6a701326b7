"""Follows the XML of a Word document or a slide: what both have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ingestion_progress.pipeline.stages.parsers.element_path import ElementPath
from ingestion_progress.pipeline.stages.parsers.equations import Equation
from ingestion_progress.pipeline.stages.parsers.markup import MarkupBuilder

# Where elements have the ids of relationships to parts that are shown in their place.
PLACES = {"a:blip": ("r:embed", "r:link"), "v:imagedata": ("r:id",), "w:altChunk": ("r:id",)}
PLACES |= {"c:chart": ("r:id",), "dgm:relIds": ("r:dm",)}
TEXTS = {"w:t", "m:t", "a:t"}
PICTURE_PROPERTIES = {"wp:docPr", "p:cNvPr"}


class OfficeText:
    """Writes tables, equations and embedded parts to `markup`; the rest is for subclasses.

    `place` is called with the id of the relationship of a picture, chart or embedded text, and the
    alternative text of a picture.
    """

    skipped: frozenset[str] = frozenset({"mc:Fallback"})
    """The elements whose content is left out."""
    tables: Mapping[str, str] = {}
    """The HTML tags of tables, rows and cells."""

    def __init__(self, place: Callable[[MarkupBuilder, str, str], None]) -> None:
        self.markup = MarkupBuilder()
        self._place = place
        self._path = ElementPath()
        self._equation: Equation | None = None
        self._alt = ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        parents = self._path.tags[-2:]
        if not self._path.start(tag):
            return
        if self._is_skipped(tag, attributes, parents):
            self._path.skip()
        elif self._equation is not None:
            self._equation.start(tag, attributes.get("m:val"))
        elif tag in self.tables:
            self._begin_table(tag)
        elif tag == "m:oMath" and not self._is_unseen:
            self._equation = Equation()
        elif tag in PLACES and not self._is_unseen:
            self._place_part(attributes, PLACES[tag])
        else:
            if tag in PICTURE_PROPERTIES:
                self._alt = attributes.get("descr") or attributes.get("title", "")
            self._begin(tag, attributes, parents)

    def end(self, tag: str) -> None:
        if not self._path.end():
            return
        if tag == "m:oMath" and self._equation is not None:
            self._end_equation(self._equation.result)
        elif self._equation is not None:
            self._equation.end(tag)
        elif tag in self.tables:
            self._end_table(tag)
        else:
            self._finish(tag)

    def text(self, text: str) -> None:
        if not self._path.is_read or self._path.tags[-1] not in TEXTS:
            return
        if self._equation is not None:
            self._equation.text(text)
        elif not self._is_unseen:
            self.markup.add_text(text)

    @property
    def _is_unseen(self) -> bool:
        return False

    def _is_skipped(self, tag: str, attributes: Mapping[str, str], parents: list[str]) -> bool:
        return tag in self.skipped

    def _begin(self, tag: str, attributes: Mapping[str, str], parents: list[str]) -> None: ...

    def _finish(self, tag: str) -> None: ...

    def _begin_table(self, tag: str) -> None:
        self.markup.begin(self.tables[tag])

    def _end_table(self, tag: str) -> None:
        if self.tables[tag] == "tr":
            self.markup.end_row()
        else:
            self.markup.end(self.tables[tag])

    def _place_part(self, attributes: Mapping[str, str], names: tuple[str, ...]) -> None:
        key = next((attributes[name] for name in names if name in attributes), "")
        self._place(self.markup, key, self._alt or attributes.get("title", ""))

    def _end_equation(self, text: str) -> None:
        self._equation = None
        is_alone = not self.markup.is_in_paragraph
        if is_alone:
            self.markup.begin_paragraph()
        self.markup.add_text(text)
        if is_alone:
            self.markup.end_paragraph()
