"""Parses JSON: writes keys and values in lines, and reads notebooks cell by cell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import DamagedDocument
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.html import TOO_DEEP
from ingestion_progress.pipeline.stages.parsers.markdown import DATA_ADDRESS, markdown_page
from ingestion_progress.pipeline.stages.parsers.text import read_text

INVALID = StoredSentence("It is not valid JSON: it was read as plain text.")
MAX_INDENT = 20
# The longest result of a cell, in characters.
MAX_OUTPUT = 5_000


class JsonParser:
    """A key with its value is one line, as is a list of plain values."""

    def open(self, file: BinaryIO, name: str) -> list[Page]:
        source = read_text(file, name)
        try:
            text = written(_loaded(source.text))
        except ValueError:
            return [Page(number=None, text=source.text, warnings=(*source.warnings, INVALID))]
        return [Page(number=None, text=text, warnings=source.warnings)]


class JsonLinesParser:
    """A record is a paragraph."""

    def open(self, file: BinaryIO, name: str) -> list[Page]:
        source = read_text(file, name)
        records = []
        broken = 0
        for line in filter(str.strip, source.text.split("\n")):
            try:
                records.append(written(_loaded(line)))
            except ValueError:
                records.append(line)
                broken += 1
        warnings = list(source.warnings)
        if broken:
            warnings.append(_invalid_lines(broken))
        return [Page(number=None, text="\n\n".join(records), warnings=tuple(warnings))]


class NotebookParser:
    """Texts, code and results of a Jupyter notebook."""

    def open(self, file: BinaryIO, name: str) -> list[Page]:
        source = read_text(file, name)
        try:
            notebook = _loaded(source.text)
            language = _language(notebook)
            cells = [_cell(cell, language) for cell in _cells(notebook)]
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise DamagedDocument(
                StoredSentence(
                    "“%(name)s” is not a notebook, or damaged: its cells cannot be found.",
                    name=name,
                )
            ) from error
        page = markdown_page("\n\n".join(filter(None, cells)))
        return [replace(page, warnings=source.warnings)]


def written(value: Any) -> str:
    try:
        return DATA_ADDRESS.sub("", "\n".join(_lines(value, 0)))
    except RecursionError as error:
        raise DamagedDocument(TOO_DEEP) from error


def _invalid_lines(number: int) -> str:
    if number == 1:
        return StoredSentence("1 line is not valid JSON: read as plain text.")
    return StoredSentence("%(number)s lines are not valid JSON: read as plain text.", number=number)


def _loaded(text: str) -> Any:
    """Numbers stay as they are written. Raises ValueError."""
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError as error:
        raise DamagedDocument(TOO_DEEP) from error


def _lines(value: Any, depth: int) -> Iterator[str]:
    indent = "  " * min(depth, MAX_INDENT)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _labelled(f"{indent}{key}:", inner, depth)
    elif isinstance(value, list):
        for inner in value:
            yield from _labelled(f"{indent}-", inner, depth)
    else:
        yield f"{indent}{_plain(value)}"


def _labelled(label: str, value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, list) and not any(isinstance(each, dict | list) for each in value):
        value = ", ".join(map(_plain, value))
    if isinstance(value, dict | list):
        yield label
        yield from _lines(value, depth + 1)
    else:
        yield f"{label} {_plain(value)}".rstrip()


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Before version 4, cells were in worksheets. Raises LookupError if it is no notebook."""
    if "worksheets" not in notebook:
        return list(notebook["cells"])
    return [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata") or {}
    return str((metadata.get("kernelspec") or {}).get("language", ""))


def _cell(cell: dict[str, Any], language: str) -> str:
    source = _joined(cell.get("source", cell.get("input", ""))).strip()
    if cell.get("cell_type") == "heading":
        return f"# {source}"
    if cell.get("cell_type") != "code":
        return source
    code = [_fenced(source, language)] if source else []
    results = (_result(output) for output in cell.get("outputs", []))
    return "\n\n".join([*code, *(_fenced(result, "") for result in results if result)])


def _result(output: dict[str, Any]) -> str:
    if output.get("output_type") == "error":
        return f"{output.get('ename')}: {output.get('evalue')}"[:MAX_OUTPUT]
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return _joined(text).strip()[:MAX_OUTPUT]


def _joined(lines: Any) -> str:
    return lines if isinstance(lines, str) else "".join(map(str, lines))


def _fenced(text: str, language: str) -> str:
    """The fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
