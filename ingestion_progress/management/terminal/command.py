"""The base of the app's commands."""

import sys
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, OutputWrapper

from ingestion_progress.management.terminal.output import printable_lines


class TerminalCommand(BaseCommand):
    """A command whose errors and remarks hold no control characters.

    Standard output is not filtered here, because `rich` writes escape sequences to it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stderr = _PrintableOutput(kwargs.get("stderr") or sys.stderr)
        self.stderr.style_func = self.style.ERROR

    def execute(self, *args: Any, **options: Any) -> str | None:
        if stderr := options.pop("stderr", None):
            self.stderr = _PrintableOutput(stderr)
        return super().execute(*args, **options)


class _PrintableOutput(OutputWrapper):
    def write(  # type: ignore[override]  # as Django's own
        self,
        msg: str = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        # Django gives a function with messages that have their colours already.
        super().write(msg if style_func else printable_lines(msg), style_func, ending)
