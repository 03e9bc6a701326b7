"""Sentences for people: English in programs and in the database, translated where people read."""

from __future__ import annotations

from typing import Self

from django.utils.translation import gettext


class Sentence(str):
    """English text, which remembers what its translation needs: its template and the details.

    `Sentence("“%(name)s” is empty.", name="a.txt")`. The template is a literal, which
    `scripts/translations.py` finds. A detail that is a Sentence, such as the name of a format, is
    translated as well. Without details the template is the text.
    """

    template: str
    details: dict[str, object]

    def __new__(cls, template: str, **details: object) -> Self:
        sentence = super().__new__(cls, template % details if details else template)
        sentence.template, sentence.details = template, details
        return sentence

    def translated(self) -> str:
        """The sentence in the active language."""
        template = gettext(self.template)
        details = {name: translated(detail) for name, detail in self.details.items()}
        return template % details if details else template


class StoredSentence(Sentence):
    """A Sentence that is stored as plain text: the reason of a job, a line of its log.

    `translate_stored` of stored_sentences.py recognises the text by its template. Of the details,
    those of NESTED there are recognised in turn; all others are data.
    """


def translated(text: object) -> object:
    """The translation of a Sentence; anything else as it is."""
    return text.translated() if isinstance(text, Sentence) else text
