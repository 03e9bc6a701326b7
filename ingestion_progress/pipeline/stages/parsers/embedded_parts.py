"""Puts what other parts of an Office document show into its text: pictures, charts, diagrams."""

from __future__ import annotations

from ingestion_progress.pipeline.stages.parsers.drawing_text import drawing_text
from ingestion_progress.pipeline.stages.parsers.markup import MarkupBuilder
from ingestion_progress.pipeline.stages.parsers.ooxml import Package, Relationship
from ingestion_progress.pipeline.stages.parsers.pictures import PictureFiles

DRAWINGS = {"chart", "diagramData"}
EMBEDDED = "embedded:"


class Pictures(PictureFiles):
    """Their `src` is `embedded:` and the name of a part."""

    def __init__(self, package: Package) -> None:
        self._package = package

    def __contains__(self, source: object) -> bool:
        return str(source).startswith(EMBEDDED)

    def __getitem__(self, source: str) -> bytes:
        return self._package.head(source.removeprefix(EMBEDDED))

    def content(self, source: str) -> bytes:
        return self._package.file(source.removeprefix(EMBEDDED))


class EmbeddedParts:
    def __init__(self, package: Package) -> None:
        self.pictures = Pictures(package)
        self._package = package

    def place(
        self, related: dict[str, Relationship], markup: MarkupBuilder, key: str, alt: str
    ) -> None:
        """Adds the part of a relationship to `markup`; `alt`: the text of a picture."""
        relationship = related.get(key)
        if relationship is None:
            return
        if relationship.kind == "image" and relationship.is_external:
            markup.add_picture(relationship.target, alt)
        elif relationship.kind == "image":
            markup.add_picture(f"{EMBEDDED}{relationship.target}", alt)
        elif relationship.kind in DRAWINGS:
            markup.begin_box()
            markup.begin_paragraph()
            markup.add_text(drawing_text(self._package, relationship.target))
            markup.end_box()
