"""What the parser process could not read, and why: errors with a sentence for each case."""

from typing import Literal

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    DocumentTooLarge,
    UnreadableDocument,
    UnreadableImage,
    UnreadablePage,
)

Limit = Literal["", "time", "memory"]

DOCUMENT: dict[Limit, StoredSentence] = {
    "": StoredSentence(
        "“%(name)s” cannot be read: it is damaged, or of a rare kind. Save it again, or in another "
        "format."
    ),
    "time": StoredSentence(
        "“%(name)s” takes longer than %(amount)s s to read. Divide it, or save it in another "
        "format."
    ),
    "memory": StoredSentence(
        "“%(name)s” needs more than %(amount)s MB of memory to read. Divide it, or save it in "
        "another format."
    ),
}
PAGE: dict[Limit, StoredSentence] = {
    "": StoredSentence("Page %(number)s is damaged and was left out."),
    "time": StoredSentence(
        "Page %(number)s takes longer than %(amount)s s to read and was left out."
    ),
    "memory": StoredSentence(
        "Page %(number)s needs more than %(amount)s MB of memory to read and was left out."
    ),
}
PICTURE: dict[Limit, StoredSentence] = {
    "": StoredSentence("A picture is damaged and was left out."),
    "time": StoredSentence("A picture takes longer than %(amount)s s to read and was left out."),
    "memory": StoredSentence(
        "A picture needs more than %(amount)s MB of memory to read and was left out."
    ),
}


class ParserFailed(Exception):
    """The parser raised what no parser should, or its process ended."""

    def __init__(self, limit: Limit = "", amount: str = "") -> None:
        """`limit` was exceeded, if it was one: of `amount` seconds or MB."""
        super().__init__(limit, amount)
        self._limit = limit
        self._details = {"amount": amount} if limit else {}

    def of_document(self, name: str) -> UnreadableDocument:
        error = DocumentTooLarge if self._limit else DamagedDocument
        return error(StoredSentence(DOCUMENT[self._limit], name=name, **self._details))

    def of_page(self, number: int) -> UnreadablePage:
        return UnreadablePage(StoredSentence(PAGE[self._limit], number=number, **self._details))

    def of_picture(self) -> UnreadableImage:
        return UnreadableImage(StoredSentence(PICTURE[self._limit], **self._details))
