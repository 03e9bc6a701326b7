"""Removes control characters from text that a terminal or a log shows.

Names, errors and texts of documents may hold escape sequences that set a window's title, move the
cursor or reverse the direction of a line. Everything that `str.isprintable` refuses is removed:
C0, DEL, C1, and format characters such as bidirectional overrides. This module imports no other
module of the app.
"""

import json


def printable(text: str) -> str:
    """The text in one line, with a space for each character that is not printable."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else " " for each in text)


def printable_lines(text: str) -> str:
    """The same with its line breaks."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(document: str) -> str:
    """The same JSON; characters that are not printable occur in strings only, and are escaped."""
    if document.isprintable():
        return document
    return "".join(each if each.isprintable() else _escaped(each) for each in document)


def _escaped(character: str) -> str:
    quoted = json.dumps(character)[1:-1]
    return quoted if quoted != character else f"\\u{ord(character):04x}"  # DEL
