"""What `scripts/test` does with a test that fails."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.once

UNSTABLE = """
from pathlib import Path
def test_unstable():
    first = Path(__file__).with_name("first")
    if not first.exists():
        first.touch()
        raise ValueError("only in the first run")
def test_stable():
    pass
"""
BROKEN = "def test_broken():\n    raise ValueError('in each run')\n"


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("test_everything")


@pytest.fixture
def run(everything: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -rfE\n")

    def run(**files: str):
        for name, source in files.items():
            (tmp_path / f"test_{name}.py").write_text(source)
        run = everything.Run("the tests", ["-q"])
        run.start()
        return run

    return run


def test_what_failed_runs_once_more_and_is_named(run, capsys):
    ended = run(unstable=UNSTABLE)
    assert (ended.exit_code, ended.unstable) == (0, ["test_unstable.py::test_unstable"])
    assert "once more, alone" in capsys.readouterr().out
    assert ended.result().splitlines()[1].startswith("1 failed, 1 passed")
    assert ended.result().endswith("unstable, passed alone: test_unstable.py::test_unstable")


def test_what_fails_twice_has_failed(run):
    ended = run(unstable=UNSTABLE, broken=BROKEN)
    assert (ended.exit_code, ended.unstable) == (1, [])


def test_many_failures_are_not_run_again(run, everything, capsys):
    count = everything.MAX_UNSTABLE + 1
    ended = run(broken="\n".join(BROKEN.replace("broken", str(n)) for n in range(count)))
    assert ended.exit_code == 1
    assert "once more" not in capsys.readouterr().out


def test_a_passing_run_is_not_repeated(run, capsys):
    ended = run(stable="def test_stable():\n    pass\n")
    assert (ended.exit_code, ended.unstable) == (0, [])
    assert "once more" not in capsys.readouterr().out
