"""Processes of Python that import what this one can import."""

from __future__ import annotations

import subprocess
import sys

from ingestion_progress.concurrency.python_process import start_python


def test_process_imports_from_folders_that_a_module_has_put_into_a_new_path(tmp_path, monkeypatch):
    (tmp_path / "late_module.py").write_text("print('imported')")
    # As OpenCV does when it is imported.
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with start_python("late_module", stdout=subprocess.PIPE) as process:
        assert process.communicate()[0] == b"imported\n"
