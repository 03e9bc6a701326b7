"""Parses Excel workbooks: a page for each sheet, a line for each row."""

from __future__ import annotations

from functools import partial
from typing import BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import EmptyDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.drawing_text import drawing_text
from ingestion_progress.pipeline.stages.parsers.ooxml import Package, Relationship
from ingestion_progress.pipeline.stages.parsers.pictures import PictureList
from ingestion_progress.pipeline.stages.parsers.xlsx_cells import CellFormats, SharedStrings
from ingestion_progress.pipeline.stages.parsers.xlsx_sheet import Comments, SheetRows, SheetTooLarge


class XlsxParser:
    def open(self, file: BinaryIO, name: str) -> XlsxPages:
        return XlsxPages(Package(file, name))


class XlsxPages:
    """The visible sheets, which are numbered with the hidden ones."""

    def __init__(self, package: Package) -> None:
        self._package = package
        main = package.main_part()
        self._related = package.relationships(main)
        self._workbook = _Workbook()
        package.read(main, self._workbook)
        self._strings, self._formats = SharedStrings(), CellFormats()
        for relationship in self._related.values():
            if relationship.kind == "sharedStrings":
                package.read(relationship.target, self._strings)
            elif relationship.kind == "styles":
                package.read(relationship.target, self._formats)
        sheets = enumerate(self._workbook.sheets, start=1)
        self._sheets = [(number, *sheet) for number, sheet in sheets if sheet[0] in self._related]
        if not self._sheets:
            raise EmptyDocument(
                StoredSentence("“%(name)s” has no sheet that can be seen.", name=package.name)
            )

    def __len__(self) -> int:
        return len(self._sheets)

    def __getitem__(self, index: int, /) -> Page:
        number, key, name = self._sheets[index]
        part = self._related[key].target
        warnings = list(self._workbook.warnings) if index == 0 else []
        rows = SheetRows(self._strings.texts, self._formats, is_1904=self._workbook.is_1904)
        try:
            self._package.read(part, rows)
        except SheetTooLarge as error:
            warnings.append(
                StoredSentence(
                    "Sheet “%(name)s” has more than %(cells)s cells or %(characters)s characters: "
                    "the rest was left out.",
                    name=name,
                    **error.limits,
                )
            )
        lines, pictures = list(rows.lines), PictureList()
        for relationship in self._package.relationships(part).values():
            lines += self._beside(relationship, pictures)
        text = "\n".join([name, "", *lines]) if lines else ""
        return Page(
            number=number,
            text=text,
            heading=name,
            pictures=pictures.as_tuple(),
            warnings=tuple(warnings),
        )

    def _beside(self, relationship: Relationship, pictures: PictureList) -> list[str]:
        """The lines of comments, text boxes and charts."""
        part = relationship.target
        if relationship.kind == "comments":
            comments = Comments()
            self._package.read(part, comments)
            return comments.lines
        if relationship.kind != "drawing":
            return []
        lines = [drawing_text(self._package, part)]
        for inner in self._package.relationships(part).values():
            if inner.kind == "chart":
                lines.append(drawing_text(self._package, inner.target))
            elif inner.kind == "image" and not inner.is_external:
                content = partial(self._package.file, inner.target)
                pictures.add_file(self._package.head(inner.target), content)
        return list(filter(None, lines))


class _Workbook:
    """The names of the sheets, and the ids of their relationships."""

    def __init__(self) -> None:
        self.sheets: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.is_1904 = False
        """Dates are counted from 1904, as in old workbooks of a Macintosh."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "s:workbookPr":
            self.is_1904 = attributes.get("date1904", "0") in {"1", "true"}
        elif tag == "s:sheet":
            name = attributes.get("name", "")
            if attributes.get("state", "visible") == "visible":
                self.sheets.append((attributes.get("r:id", ""), name))
            else:
                self.sheets.append(("", name))
                self.warnings.append(
                    StoredSentence("Sheet “%(name)s” is hidden and was left out.", name=name)
                )

    def end(self, tag: str) -> None: ...

    def text(self, text: str) -> None: ...
