"""Puts what other parts of an Office document show into its text: pictures, charts, diagrams."""

from __future__ import annotations

from ingestion_progress.pipeline.stages.parsers.drawing_text import drawing_text
from ingestion_progress.pipeline.stages.parsers.markup import MarkupBuilder
from ingestion_progress.pipeline.stages.parsers.ooxml import Package, Relationship

DRAWINGS = {"chart", "diagramData"}


class EmbeddedParts:
    def __init__(self, package: Package) -> None:
        self.pictures: dict[str, bytes] = {}
        """Their beginnings by their `src`."""
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
            source = f"embedded:{relationship.target}"
            self.pictures[source] = self._package.head(relationship.target)
            markup.add_picture(source, alt)
        elif relationship.kind in DRAWINGS:
            markup.begin_box()
            markup.begin_paragraph()
            markup.add_text(drawing_text(self._package, relationship.target))
            markup.end_box()
