"""A parser that does what its document says: one page per line.

`crash`, `loop`, `sleep`, `grow`, `raise`, `refuse`, `damaged`, `log WORDS`, `read PATH`,
`write PATH` and `connect PORT` are acted out, and any other line is text. Those that begin with
"opening: " are acted out when the document is opened.
"""

import ctypes
import logging
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from django.utils.module_loading import import_string

from ingestion_progress.pipeline.exceptions import EmptyDocument, UnreadablePage
from ingestion_progress.pipeline.stages import Page, Pages, Parser
from ingestion_progress.pipeline.stages.parsers import ocr, parser_path
from ingestion_progress.pipeline.stages.parsers.pdf import PdfParser

PATH = f"{__name__}.ScriptedParser"
WITHOUT_OCR = f"{__name__}.PdfParserWithoutOcr"
OPENING = "opening: "


def parser_for(media_type: str) -> Parser:
    parser: Parser = import_string(parser_path(media_type))()
    return parser


class TooManyBees(EmptyDocument):
    """An exception of a parser that the pipeline does not know."""


class PdfParserWithoutOcr(PdfParser):
    """As if the extra were not installed."""

    def open(self, file: BinaryIO, name: str) -> Pages:
        ocr.is_available = lambda: False  # of its process, which reads no other document
        return super().open(file, name)


class ScriptedParser:
    def open(self, file: BinaryIO, name: str) -> "ScriptedPages":
        lines = file.read().decode().splitlines()
        for line in lines:
            if line.startswith(OPENING):
                act(line.removeprefix(OPENING))
        return ScriptedPages([line for line in lines if not line.startswith(OPENING)])


class ScriptedPages:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> Page:
        act(self._lines[index])
        return Page(number=index + 1, text=f"{self._lines[index]} ({os.getpid()})")


def act(line: str) -> None:
    word, _, rest = line.partition(" ")
    if action := ACTIONS.get(word):
        action(rest)


def _grow(_: str) -> None:
    data = [bytearray(1_000_000)]
    while True:
        data.append(bytearray(1_000_000))


def _raise(error: Exception) -> None:
    raise error


def _log(message: str) -> None:
    logging.getLogger("a_parser").warning("%s", message)
    logging.getLogger("a_parser").info("Not a warning: %s", message)


ACTIONS: dict[str, Callable[[str], object]] = {
    "crash": lambda _: ctypes.string_at(0),
    # In C, with the lock of the interpreter.
    "loop": lambda _: re.match(r"(a+)+b", "a" * 60),
    "sleep": lambda _: time.sleep(600),
    "grow": _grow,
    "raise": lambda _: _raise(KeyError("/srv/secret")),
    "refuse": lambda _: _raise(TooManyBees("There are too many bees.")),
    "damaged": lambda _: _raise(UnreadablePage("This page is damaged.")),
    "log": _log,
    "read": lambda path: Path(path).read_bytes(),
    "write": lambda path: Path(path).write_bytes(b"bees"),
    "connect": lambda port: socket.create_connection(("127.0.0.1", int(port))),
}
