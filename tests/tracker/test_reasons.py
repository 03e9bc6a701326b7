"""The reason of a failure as readers see it."""

from __future__ import annotations

import errno
import socket
import sqlite3

import pytest
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError

from ingestion_progress.exceptions import IngestionProgressError, UnknownStage
from ingestion_progress.tracker import reason_of
from ingestion_progress.tracker.reasons import DISK_FULL, UNEXPECTED

PATH = "/srv/site/media/documents/report.txt"


class UnreadablePage(TypeError):
    """Of a project, and raised on purpose, unlike Python's own."""


def system_error(number: int) -> OSError:
    return OSError(number, "as the system puts it", PATH)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (system_error(errno.ENOENT), "A file is missing on the server."),
        (system_error(errno.EACCES), "The server may not use a file or a service that it needs."),
        (system_error(errno.ENOSPC), DISK_FULL),
        (system_error(errno.EDQUOT), DISK_FULL),
        (system_error(errno.EIO), "A file or a connection of the server failed."),
        (system_error(errno.ECONNREFUSED), "A service cannot be reached."),
        (socket.gaierror(socket.EAI_NONAME, "no such host"), "A service cannot be reached."),
        (system_error(errno.ETIMEDOUT), "A service did not answer in time."),
        (OperationalError("database or disk is full"), DISK_FULL),
        (OperationalError('could not extend file "base/1": No space left on device'), DISK_FULL),
        (OperationalError("locked"), "The database cannot be reached, or is busy."),
        (InterfaceError("connection already closed"), "The database cannot be reached, or is"),
        (sqlite3.OperationalError("locked"), "The database cannot be reached, or is busy."),
        (sqlite3.InterfaceError("closed"), "The database cannot be reached, or is busy."),
        (sqlite3.DatabaseError("file is not a database"), "The database is damaged, or refuses"),
        (DatabaseError(PATH), "The database is damaged, or refuses the data."),
        (IntegrityError("key"), "The database is damaged, or refuses the data."),
        (MemoryError(), "There is not enough memory."),
        (KeyError("c-9"), UNEXPECTED),
        (AttributeError("'NoneType' object has no attribute 'pages'"), UNEXPECTED),
        (RuntimeError(), UNEXPECTED),
        (ImportError("cannot import name 'pages'"), UNEXPECTED),
        (IndexError("list index out of range"), UNEXPECTED),
        (ModuleNotFoundError("No module named 'pages'"), UNEXPECTED),
        (NameError("name 'pages' is not defined"), UNEXPECTED),
        (NotImplementedError("pages"), UNEXPECTED),
        (RecursionError("maximum recursion depth exceeded"), UNEXPECTED),
        (UnboundLocalError("cannot access local variable 'pages'"), UNEXPECTED),
        (UnicodeDecodeError("utf-8", b"page", 0, 1, "invalid start byte"), UNEXPECTED),
        (UnicodeEncodeError("ascii", "page", 0, 1, "ordinal not in range"), UNEXPECTED),
    ],
    ids=repr,
)
def test_error_that_is_unexpected_is_a_sentence_without_internals(error, expected):
    reason = reason_of(error)
    assert reason.startswith(expected)
    assert "/" not in reason
    assert type(error).__name__ not in reason


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnknownStage("/a/b/c", ["one"]), "Unknown stage '/a/b/c'. This job declares: one."),
        (IngestionProgressError(), UNEXPECTED),
        (ValueError("the 4th page is upside down"), "the 4th page is upside down"),
        (UnreadablePage("the 4th page is a picture"), "the 4th page is a picture"),
        (TimeoutError("The model took 30 s."), "The model took 30 s."),
        (RuntimeError(f"cannot open '{PATH}' twice"), "cannot open 'report.txt' twice"),
        (RuntimeError("https://host/a/b/c said 500"), "https://host/a/b/c said 500"),
    ],
    ids=repr,
)
def test_error_that_was_raised_with_a_text_gives_it_as_the_reason(error, expected):
    assert reason_of(error) == expected
