"""Translates stored texts: plain English, recognised by the templates of `StoredSentence`s."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from django.utils.translation import get_language, gettext, pgettext

# The templates of stored sentences, of `scripts/translations.py`.
TEMPLATES = Path(__file__).parents[1] / "locale" / "stored_sentences.json"
# Details that are stored sentences themselves.
NESTED = frozenset({"reason", "service", "by"})
MAX_NESTING = 4
# The name of details that are a number and nothing else.
NUMBER = "number"
NUMBERS = re.compile(r"[\d.,]{1,20}|<n>|<id>")
# Longer texts are shown as they are.
MAX_LENGTH = 4000
PLACEHOLDER = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True)
class Template:
    """A template, cut at its placeholders."""

    text: str
    literals: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        parts = PLACEHOLDER.split(text)
        literals = tuple(part.replace("%%", "%") for part in parts[::2])
        return cls(text, literals, tuple(parts[1::2]))

    @property
    def start(self) -> str:
        """The first character, if each text of this template has the same."""
        return self.literals[0][:1]

    @property
    def end(self) -> str:
        """The last two characters, if each text of this template has the same."""
        return self.literals[-1][-2:] if len(self.literals[-1]) > 1 else ""

    def details_of(self, text: str) -> dict[str, str] | None:
        """The details of a text that has this template, or None.

        A detail ends where the next literal is found first, so the time is linear.
        """
        first, last = self.literals[0], self.literals[-1]
        if not self.names:
            return {} if text == first else None
        start, end = len(first), len(text) - len(last)
        if not (text.startswith(first) and text.endswith(last)):
            return None
        details = {}
        for name, literal in zip(self.names, [*self.literals[1:-1], ""], strict=True):
            found = text.find(literal, start + 1, end) if literal else end
            detail = text[start:found]
            if found <= start or (name == NUMBER and not NUMBERS.fullmatch(detail)):
                return None
            details[name] = detail
            start = found + len(literal)
        return details


def translate_stored(text: str) -> str:
    """A stored text in the active language, if it is one of the stored sentences."""
    if not text or get_language() in {"en", None}:
        return text
    return _translate(str(text), MAX_NESTING)


def translate_pattern(text: str) -> str:
    """The same for what the messages of similar errors have in common, as `error_messages.py`
    writes it: a quoted name has become `<name>`.
    """
    found = translate_stored(text.replace("<name>", "“<name>”"))
    if "“<name>”" in found:
        return text
    words = {
        "<name>": pgettext("placeholder", "<name>"),
        "<file>": pgettext("placeholder", "<file>"),
        "<path>": pgettext("placeholder", "<path>"),
    }
    for word, shown in words.items():
        found = found.replace(word, shown)
    return found


def stored_templates() -> list[str]:
    """The templates of all stored sentences."""
    found: list[str] = json.loads(TEMPLATES.read_text(encoding="utf-8"))
    return found


@cache
def templates() -> dict[tuple[str, str], Sequence[Template]]:
    """By the first character and the last two of their texts, the most specific ones first.

    Those that begin or end with a detail are in several lists, and in that of "" there.
    """
    found = [Template.of(text) for text in stored_templates()]
    found.sort(key=lambda template: -sum(map(len, template.literals)))
    starts = {"", *(template.start for template in found)}
    ends = {"", *(template.end for template in found)}
    return {
        (start, end): [
            template
            for template in found
            if template.start in {"", start} and template.end in {"", end}
        ]
        for start in starts
        for end in ends
    }


def _candidates(text: str) -> Sequence[Template]:
    known = templates()
    start = text[:1] if (text[:1], "") in known else ""
    end = text[-2:] if ("", text[-2:]) in known else ""
    return known[start, end]


def _translate(text: str, nesting: int) -> str:
    if not nesting or len(text) > MAX_LENGTH:
        return text
    for template in _candidates(text):
        details = template.details_of(text)
        if details is not None:
            values = {
                name: _translate(detail, nesting - 1) if name in NESTED else detail
                for name, detail in details.items()
            }
            sentence = gettext(template.text)
            return sentence % values if values else sentence
    return text
