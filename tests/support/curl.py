"""Reads a stream with curl, as people do who try the API."""

from __future__ import annotations

import os
import shutil

import pytest

# A stream that does not end fails a test instead of blocking it.
CURL = ("curl", "--silent", "--show-error", "--no-buffer", "--max-time", "120")

needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None and os.environ.get("CI") != "true",
    reason="curl is not installed; scripts/test installs it where it may",
)
