"""What ingestion tasks may pass in."""

from __future__ import annotations

import pytest

from ingestion_progress.exceptions import InvalidCount
from ingestion_progress.tracker.plan import checked_count


@pytest.mark.parametrize("value", [-1, 1.5, "3", None, 2**53])
def test_invalid_count_is_refused_with_its_name(value):
    with pytest.raises(InvalidCount, match="processed is "):
        checked_count("processed", value)
