"""The benchmark, small: its numbers are of this machine and not asserted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.live import ROOT

pytestmark = pytest.mark.once

PYTHON = ROOT / "var" / "bench-venv" / "bin" / "python"
CANDIDATES = ("bare", "raw-uvicorn")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict:
    if not PYTHON.exists():
        pytest.skip("by design: only scripts/bench installs the peers, when somebody measures")
    folder: Path = tmp_path_factory.mktemp("bench")
    only = [argument for name in CANDIDATES for argument in ("--only", name)]
    options = ["--kind", "full-speed", "--clients", "5", "--seconds", "0.5", "--rounds", "1"]
    done = subprocess.run(
        [PYTHON, "-m", "benchmarks", *only, *options, "--out", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "full-speed 1: bare" in done.stderr
    assert "bare asyncio" in done.stdout
    (path,) = folder.glob("*-full-speed.json")
    return json.loads(path.read_text())


def test_frames_are_counted_for_every_candidate(result):
    (measured,) = result["rounds"]
    assert set(measured) == set(CANDIDATES)
    for figures in measured.values():
        assert figures["streams"] == 5
        assert figures["frames_per_second"] > 0
        assert figures["age_ms"]["count"] > 0
        assert 1000 < figures["bytes_per_frame"] < 2500


def test_each_figure_is_a_ratio_to_the_bare_loop_of_its_round(result):
    assert result["failures"] == []
    for name in CANDIDATES:
        ratio = result["summary"][name]["frames_per_second"]["to_bare"]
        assert ratio["min"] <= ratio["median"] <= ratio["max"]
    assert result["summary"]["bare"]["frames_per_second"]["to_bare"]["median"] == 1


def test_it_is_written_down_on_what_it_was_measured(result):
    assert {"cpu", "kernel", "python", "packages", "load_client"} <= set(result["machine"])
