from __future__ import annotations

import pytest

from ingestion_progress.testing import InlineWriter
from ingestion_progress.tracker.writer import use_writer


class FlushOnly(InlineWriter):
    """Writes nothing until the test asks for a flush."""

    def notice(self, buffer, *, is_urgent=False):
        """A flush takes all that is pending."""


@pytest.fixture
def flush_only():
    before = use_writer(FlushOnly())
    yield
    use_writer(before)
