"""What `scripts/test` runs on which Python, and what it does with a test that fails."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import django
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
    monkeypatch.setattr(everything, "MAX_QUIET_WAIT_SECONDS", 0)
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


@pytest.mark.parametrize(
    ("busy_percents", "calls"), [([90.0, 51.0, 20.0, 90.0], 3), ([90.0] * 9, 5)]
)
def test_what_failed_waits_for_a_quiet_machine_and_not_for_ever(
    everything, monkeypatch, busy_percents, calls
):
    seen = []
    monkeypatch.setattr(everything, "MAX_QUIET_WAIT_SECONDS", 5)
    monkeypatch.setattr(everything.time, "monotonic", lambda: len(seen))
    monkeypatch.setattr(
        everything.psutil,
        "cpu_percent",
        lambda interval: seen.append(interval) or busy_percents[len(seen) - 1],
    )
    everything.wait_for_quiet()
    assert seen == [1] * calls


OLDER, NEWER = (3, 11, 5, 2), (3, 13, 6, 1)


@pytest.mark.parametrize(("ours", "other"), [(OLDER, NEWER), (NEWER, OLDER)])
def test_the_newer_python_runs_everything_and_the_older_one_what_it_may_change(
    everything, monkeypatch, ours, other
):
    versions = {sys.executable: ours, "other": other}
    monkeypatch.setattr(everything, "version_of", versions.__getitem__)
    repeated, whole = everything.runs("other")
    assert (versions[repeated.python], versions[whole.python]) == (OLDER, NEWER)
    assert repeated.env["TEST_DATABASE"] == "postgresql"
    assert (whole.env, "-m" in whole.options) == ({"COVERAGE_CORE": "sysmon"}, False)
    assert (bool(whole.coverage), repeated.coverage) == (True, [])
    assert whole.title == "everything, on Python 3.13, Django 6.1 and SQLite, with coverage"


@pytest.mark.parametrize(("version", "core"), [(OLDER, {}), (NEWER, {"COVERAGE_CORE": "sysmon"})])
def test_a_single_python_runs_everything_and_repeats_it_on_postgresql(
    everything, monkeypatch, version, core
):
    monkeypatch.setattr(everything, "version_of", lambda python: version)
    postgresql, whole = everything.runs(None)
    assert postgresql.env == {"TEST_DATABASE": "postgresql"}
    assert whole.env == core


def test_versions_are_those_of_python_and_of_its_django(everything):
    assert everything.version_of(sys.executable) == (*sys.version_info[:2], *django.VERSION[:2])
