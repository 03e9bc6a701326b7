"""Parses RTF."""

from __future__ import annotations

import re
from typing import BinaryIO

from striprtf.striprtf import rtf_to_text

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import DamagedDocument, EmptyDocument
from ingestion_progress.pipeline.stages import Page

# Groups whose text striprtf leaves out, but which are seen.
SEEN = re.compile(r"\\(?:footnote|header[lrf]?|footer[lrf]?)(?![a-z]) ?")
INNER_GROUP = re.compile(r"\{[^{}]*+\}")
HIDDEN = re.compile(r"\\v(?![a-z0-9])")
BAR = re.compile(r"[ \t]*\|[ \t]*")
BLANK_LINES = re.compile(r"\n{3,}")


class RtfParser:
    """A row of a table is one line. Pictures are left out."""

    def open(self, file: BinaryIO, name: str) -> list[Page]:
        file.seek(0)
        # Bytes of other encodings are escaped.
        source = file.read().decode("latin-1")
        if not source.rstrip("\0 \r\n").endswith("}"):
            raise DamagedDocument(
                StoredSentence(
                    "“%(name)s” is cut off: its end is missing. Download it again.", name=name
                )
            )
        source = INNER_GROUP.sub(lambda group: "" if HIDDEN.search(group[0]) else group[0], source)
        text: str = rtf_to_text(SEEN.sub(" ", source), errors="replace")  # type: ignore[no-untyped-call]
        lines = "\n".join(map(_line, text.replace("\0", "").split("\n")))
        text = BLANK_LINES.sub("\n\n", lines).strip()
        if not text:
            raise EmptyDocument(StoredSentence("“%(name)s” has no text.", name=name))
        # Lone halves of characters can be neither stored nor sent.
        return [Page(number=None, text=text.encode("utf-8", "replace").decode())]


def _line(line: str) -> str:
    line = line.rstrip()
    return BAR.sub(" | ", line.rstrip("|")) if line.endswith("|") else line
