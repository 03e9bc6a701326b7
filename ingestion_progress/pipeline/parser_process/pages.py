"""The pages of a document that a child of the parser process reads."""

import base64
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from typing import Any, BinaryIO, Self

from ingestion_progress.pipeline import exceptions
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import (
    ParserUnavailable,
    UnreadableDocument,
    UnreadableImage,
    UnreadablePage,
)
from ingestion_progress.pipeline.parser_process.child import MEMORY
from ingestion_progress.pipeline.parser_process.connection import (
    Child,
    ChildEnded,
    parser_process,
)
from ingestion_progress.pipeline.parser_process.failures import ParserFailed
from ingestion_progress.pipeline.stages import Page

logger = logging.getLogger("ingestion_progress.pipeline")

# What a parser may raise.
OF_PARSERS = (UnreadableDocument, UnreadablePage, UnreadableImage)
# Pages that end their process. One more ends the job.
MAX_RESTARTS = 3
# A share of the limit: the allocation that fails may ask for all of the rest at once.
NEAR_MEMORY_LIMIT = 0.75
MEGABYTE = 1024 * 1024


class ParsedPages:
    """A context manager: leaving it ends the child.

    While a page is used, the child reads the next one.
    """

    def __init__(
        self, parser: str, file: BinaryIO, name: str, check: Callable[[], None] = lambda: None
    ) -> None:
        """`parser` is the dotted path of a Parser. `check` is called while the child works, and
        what it raises ends the wait.

        Raises UnreadableDocument, or ParserUnavailable.
        """
        self._parser, self._file, self._name, self._check = parser, file, name, check
        self._child: Child | None = None
        self._asked: int | None = None
        self._restarts = 0
        try:
            self._count = self._open(self._start())
        except BaseException as error:
            self._end()
            if isinstance(error, ParserFailed):
                raise error.of_document(name) from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> Page:
        """Raises UnreadablePage, or as the constructor."""
        try:
            child = self._child or self._restarted()
            if self._asked not in (None, index):
                self._answer(child)  # the page that it read ahead
            if self._asked != index:
                self._ask(child, index)
            fields = self._answer(child)["page"]
        except ParserFailed as failure:
            raise failure.of_page(index + 1) from failure
        if index + 1 < self._count:
            self._ask(child, index + 1)
        return Page.from_fields(fields)

    def picture(self, index: int, reference: int) -> bytes:
        """A picture of the page at `index`, as a JPEG of bounded size. Not for an instance that
        also reads pages.

        Raises UnreadableImage, or as the constructor.
        """
        try:
            child = self._child or self._restarted()
            child.send(index, reference)
            return base64.b64decode(self._answer(child)["picture"])
        except ParserFailed as failure:
            raise failure.of_picture() from failure

    def _start(self) -> Child:
        request = {
            "parser": self._parser,
            "name": self._name,
            "memory_bytes": conf.parser_memory_bytes,
            "cpu_seconds": conf.parser_cpu_seconds,
        }
        self._child = parser_process().fork(self._file.fileno(), request)
        return self._child

    def _restarted(self) -> Child:
        """After a page has ended the child."""
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise ParserFailed().of_document(self._name)
        child = self._start()
        self._open(child)
        return child

    def _open(self, child: Child) -> int:
        count: int = self._answer(child)["count"]
        return count

    def _ask(self, child: Child, index: int) -> None:
        child.send(index)
        self._asked = index

    def _answer(self, child: Child) -> dict[str, Any]:
        """Raises the error of the pipeline that the parser raised, or ParserFailed."""
        self._asked = None
        try:
            answer = self._received(child)
        except TimeoutError:
            self._end()
            raise _time(conf.parser_seconds) from None
        except ChildEnded as end:
            self._child = None
            raise _failure(end) from end
        if error := answer.get("error"):
            raise self._error(error["kind"], error["message"])
        return answer

    def _received(self, child: Child) -> dict[str, Any]:
        while record := (line := child.receive(conf.parser_seconds, self._check)).get("log"):
            logging.getLogger(record["logger"]).log(record["level"], "%s", record["message"])
        return line

    def _error(self, kind: str, message: str) -> Exception:
        if kind == MEMORY:
            self._end()
            return _memory()
        error: type[Exception] | None = getattr(exceptions, kind, None)
        if error and issubclass(error, OF_PARSERS):
            return error(message)
        logger.error("parser_failed", extra={"document": self._name, "traceback": message})
        return ParserFailed()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child:
            with contextlib.suppress(ParserUnavailable):  # then it has ended too
                child.end()


def _failure(end: ChildEnded) -> ParserFailed:
    ended_by = os.WTERMSIG(end.status) if os.WIFSIGNALED(end.status) else 0
    if ended_by == signal.SIGXCPU:
        return _time(conf.parser_cpu_seconds)
    is_near_limit = end.peak_bytes > conf.parser_memory_bytes * NEAR_MEMORY_LIMIT
    # The kernel kills a process with SIGKILL if the host has no memory left.
    return _memory() if is_near_limit or ended_by == signal.SIGKILL else ParserFailed()


def _time(seconds: float) -> ParserFailed:
    return ParserFailed("time", f"{seconds:g}")


def _memory() -> ParserFailed:
    return ParserFailed("memory", str(conf.parser_memory_bytes // MEGABYTE))
