"""Parses tables in text files, with values separated by commas, semicolons, tabs or bars."""

from __future__ import annotations

import csv
import io
from itertools import islice
from typing import BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.text import read_text

DELIMITERS = ",;\t|"
SAMPLED_ROWS = 20
MIN_COLUMNS = 2
# The longest value. A quotation mark that is not closed makes a value of the rest of the file.
MAX_VALUE = 1_000_000


class TabularParser:
    """A row is one line. A file that is no table is read as text."""

    def open(self, file: BinaryIO, name: str) -> list[Page]:
        source = read_text(file, name)
        csv.field_size_limit(MAX_VALUE)
        delimiter = max(DELIMITERS, key=lambda each: _columns(source.text, each))
        if _columns(source.text, delimiter) < MIN_COLUMNS:
            return [Page(number=None, text=source.text, warnings=source.warnings)]
        try:
            rows = csv.reader(io.StringIO(source.text), delimiter=delimiter)
            text = "\n".join(filter(None, map(_line, rows)))
            warnings = source.warnings
        except csv.Error:
            text = source.text
            warnings = (
                *source.warnings,
                StoredSentence("Its rows cannot be told apart: it was read as text."),
            )
        return [Page(number=None, text=text, warnings=warnings)]


def _columns(text: str, delimiter: str) -> int:
    """The columns that each of the first rows has."""
    rows = csv.reader(io.StringIO(text[: MAX_VALUE // 2]), delimiter=delimiter)
    try:
        lengths = [len(row) for row in islice(rows, SAMPLED_ROWS) if row]
    except csv.Error:
        return 0
    return min(lengths, default=0)


def _line(row: list[str]) -> str:
    return " | ".join(" ".join(value.split()) for value in row).rstrip("| ")
