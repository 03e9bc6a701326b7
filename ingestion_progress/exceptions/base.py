"""What every exception of the app has: a code for the API, and a sentence."""

from __future__ import annotations

from ingestion_progress.exceptions.codes import ErrorCode
from ingestion_progress.exceptions.sentences import Sentence, translated


class IngestionProgressError(Exception):
    """Base of everything this app raises on purpose."""

    code = ErrorCode.SERVER_ERROR
    """The code of the API's response. The response has the text of the exception as its message,
    unless the code is SERVER_ERROR."""

    @property
    def sentence(self) -> str:
        """The English text; a Sentence if it was raised with one."""
        return self.args[0] if self.args and isinstance(self.args[0], Sentence) else str(self)

    def translated(self) -> str:
        """The text in the language that is active."""
        return str(translated(self.sentence))
