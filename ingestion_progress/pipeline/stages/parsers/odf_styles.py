"""Collects the styles of an OpenDocument file that hide what has them."""

from __future__ import annotations

from collections.abc import Mapping


class HiddenStyles:
    """The names of styles of hidden texts, sheets and slides."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._name = ""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "style:style":
            self._name = attributes.get("style:name", "")
        is_hidden = (
            attributes.get("text:display") == "none"
            or attributes.get("table:display") == "false"
            or attributes.get("presentation:visibility") == "hidden"
        )
        if is_hidden and tag.startswith("style:") and tag.endswith("-properties"):
            self.names.add(self._name)
