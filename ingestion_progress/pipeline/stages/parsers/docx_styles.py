"""Reads the styles of a Word document, which say what a paragraph is."""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADING_NAME = re.compile(r"heading ([1-9])", re.IGNORECASE)
OFF = {"0", "false", "off", "none"}
MAX_LEVEL = 6
# Styles that are based on each other in a circle, as broken files have them.
MAX_ANCESTORS = 20


@dataclass
class Style:
    name: str = ""
    based_on: str = ""
    outline_level: int | None = None
    """From 0; 9 is text."""
    is_list: bool | None = None
    is_hidden: bool | None = None


class Styles:
    """By their ids. An unknown style is that of text."""

    def __init__(self) -> None:
        self._by_id: dict[str, Style] = {}
        self._current = Style()

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        style, value = self._current, attributes.get("w:val", "")
        if tag == "w:style":
            self._current = self._by_id[attributes.get("w:styleId", "")] = Style()
        elif tag == "w:name":
            style.name = value
        elif tag == "w:basedOn":
            style.based_on = value
        elif tag == "w:outlineLvl":
            style.outline_level = level_of(value)
        elif tag == "w:numPr":
            style.is_list = True
        elif tag == "w:vanish":
            style.is_hidden = value not in OFF

    def end(self, tag: str) -> None: ...

    def text(self, text: str) -> None: ...

    def heading_level(self, style_id: str) -> int | None:
        """From 1 to 6; None for text."""
        for style in self._with_ancestors(style_id):
            if style.outline_level is not None:
                return heading_level(style.outline_level)
            if found := HEADING_NAME.fullmatch(style.name):
                return min(int(found[1]), MAX_LEVEL)
            if style.name.lower() == "title":
                return 1
        return None

    def is_list(self, style_id: str) -> bool:
        return any(style.is_list for style in self._with_ancestors(style_id))

    def is_hidden(self, style_id: str) -> bool:
        known = (style.is_hidden for style in self._with_ancestors(style_id))
        return next((is_hidden for is_hidden in known if is_hidden is not None), False)

    def _with_ancestors(self, style_id: str) -> list[Style]:
        found: list[Style] = []
        while style_id in self._by_id and len(found) < MAX_ANCESTORS:
            found.append(self._by_id[style_id])
            style_id = found[-1].based_on
        return found


def level_of(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and len(value) == 1 else None


def heading_level(outline_level: int | None) -> int | None:
    """None for text."""
    if outline_level is None or outline_level > 8:
        return None
    return min(outline_level + 1, MAX_LEVEL)
