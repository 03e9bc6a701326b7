"""Why a job or an item failed, as a sentence for users without class names and paths.

The exception itself is re-raised or logged where it happens, with its traceback.
"""

import errno
import re
import socket
import sqlite3

from django.db import Error as DjangoDatabaseError
from django.db import InterfaceError, OperationalError

from ingestion_progress.exceptions import IngestionProgressError
from ingestion_progress.exceptions.sentences import StoredSentence

UNEXPECTED = StoredSentence("An unexpected error; the log has the details.")
DISK_FULL = StoredSentence("The disk is full.")
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# The texts of SQLite and PostgreSQL.
FULL_DATABASE = ("disk is full", "No space left on device")

OF_SYSTEM: tuple[tuple[type[OSError] | tuple[type[OSError], ...], StoredSentence], ...] = (
    (FileNotFoundError, StoredSentence("A file is missing on the server.")),
    (PermissionError, StoredSentence("The server may not use a file or a service that it needs.")),
    (TimeoutError, StoredSentence("A service did not answer in time.")),
    ((ConnectionError, socket.gaierror), StoredSentence("A service cannot be reached.")),
    (OSError, StoredSentence("A file or a connection of the server failed.")),
)
# Python raises these for mistakes in code: their text names variables and types, or only a key.
OF_CODE = (
    *(AttributeError, ImportError, IndexError, KeyError, ModuleNotFoundError, NameError),
    *(NotImplementedError, RecursionError, TypeError, UnboundLocalError),
    *(UnicodeDecodeError, UnicodeEncodeError),
)
# The folders of an absolute path, but not of a URL.
FOLDERS = re.compile(r"(?<![\w/:.])/(?:[^/\s'\"]+/){2,}")


def reason_of(error: BaseException) -> str:
    """The text of an exception that was raised on purpose; a general sentence for any other.

    A Sentence if it has a translation.
    """
    text = error.sentence if isinstance(error, IngestionProgressError) else str(error)
    if isinstance(error, IngestionProgressError) and text:
        return text
    if isinstance(error, OSError) and error.errno is not None:
        return _of_system(error)
    if isinstance(error, DjangoDatabaseError | sqlite3.Error):
        return _of_database(error)
    if isinstance(error, MemoryError):
        return StoredSentence("There is not enough memory.")
    if type(error) in OF_CODE or not text:
        return UNEXPECTED
    return FOLDERS.sub("", text)


def _of_system(error: OSError) -> str:
    if error.errno in FULL:
        return DISK_FULL
    return next(sentence for kinds, sentence in OF_SYSTEM if isinstance(error, kinds))


def _of_database(error: Exception) -> str:
    if any(sign in str(error) for sign in FULL_DATABASE):
        return DISK_FULL
    if isinstance(
        error, OperationalError | InterfaceError | sqlite3.OperationalError | sqlite3.InterfaceError
    ):
        return StoredSentence("The database cannot be reached, or is busy.")
    return StoredSentence("The database is damaged, or refuses the data.")
