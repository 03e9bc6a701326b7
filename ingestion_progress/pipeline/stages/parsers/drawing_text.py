"""Reads the words of a chart, a diagram or comments in an Office document."""

from __future__ import annotations

from ingestion_progress.pipeline.stages.parsers.ooxml import Package


def drawing_text(package: Package, part: str) -> str:
    """Its titles and labels, each once."""
    reader = _Words()
    package.read(part, reader)
    return "; ".join(reader.found)


class _Words:
    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        self._path: list[str] = []
        self._words: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._path.append(tag)

    def end(self, tag: str) -> None:
        self._path.pop()
        if tag in {"a:p", "c:pt", "p:text"}:
            if words := "".join(self._words).strip():
                self.found[words] = None
            self._words = []

    def text(self, text: str) -> None:
        is_label = self._path[-3:-1] == ["c:strCache", "c:pt"]
        if self._path[-1] in {"a:t", "p:text"} or (is_label and self._path[-1] == "c:v"):
            self._words.append(text)
