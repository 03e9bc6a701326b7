"""The documentation: short lines, links that lead somewhere, real commands, and code that runs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import get_commands

from tests.support.live import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
HOWTO = ROOT / "docs" / "howto"
MAX_LENGTH = 99
MAX_ROW_LENGTH = 180
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^```text\n.*?^```$", re.MULTILINE | re.DOTALL)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in FENCE.findall(page.read_text()) if name == language]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@every_page
def test_lines_are_under_100_characters(page: Path):
    """Rows of tables cannot be broken, and output is shown as it was printed."""
    for line in PRINTED.sub("", page.read_text()).splitlines():
        assert len(line) <= (MAX_ROW_LENGTH if line.startswith("|") else MAX_LENGTH), line


@every_page
def test_links_lead_to_a_file_and_a_heading(page: Path):
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    for target in targets:
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_each_page_of_docs_is_linked_from_another():
    linked = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)", prose(page))
    }
    folders = {path for path in linked if path.is_dir()}
    for page in (ROOT / "docs").rglob("*.md"):
        assert page in linked or page.parent in folders, page


@every_page
def test_commands_of_manage_py_exist(page: Path):
    named = set(re.findall(r"manage\.py\s+([a-z_]+)", page.read_text()))
    assert named <= set(get_commands()) | {"test", "runserver"}


@every_page
def test_python_is_python(page: Path):
    for source in blocks(page, "python"):
        compile(source, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


class Site:
    """The project of docs/first-job.md."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "mysite"
        self.environment = {
            **{name: os.environ[name] for name in os.environ if name.startswith(("PATH", "COV"))},
            "PYTHONPATH": str(ROOT),
        }
        self.python("-m", "django", "startproject", "mysite", folder=folder)
        self.write(ROOT / "docs" / "first-job.md")
        self.manage("migrate", "--verbosity", "0")

    def write(self, page: Path) -> None:
        """The files of a page; what it shows of the settings goes to their end."""
        for source in blocks(page, "python"):
            path = self.folder / re.match(r"# (\S+\.py)\n", source)[1]
            before = path.read_text() if path.name == "settings.py" else ""
            path.write_text(before + source.replace("time.sleep(", "time.sleep(0.01 * "))

    def manage(self, *args: str, code: int = 0) -> str:
        return self.python("manage.py", *args, code=code)

    def python(self, *args: str, folder: Path | None = None, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, *args],
            cwd=folder or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def run(self, source: str) -> list[str]:
        return self.manage("shell", "--verbosity", "0", "--command", source).splitlines()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("docs"))


STATE = """
from ingestion_progress.models import Job
job = Job.objects.get(pk="{}")
print(job.status, job.error_count)
for stage in job.stages.order_by("position"):
    print(stage.name, stage.status, stage.processed, stage.total)
"""


@pytest.mark.once
def test_first_job_works_as_printed(site: Site):
    assert "no issues" in site.manage("check", "--fail-level", "WARNING")
    commands = "".join(blocks(ROOT / "docs" / "first-job.md", "sh"))
    source = re.search(r'manage\.py shell -c "(.+)"', commands)[1]
    job_id = site.run(source)[-1].removeprefix("Job ")
    assert site.run(STATE.format(job_id)) == [
        "succeeded 1",
        "parsing completed 40 40",
        "embedding completed 40 40",
    ]
    shown = site.manage("follow", job_id, code=3)
    assert "100.0%  succeeded with 1 error  report.pdf" in shown
    site.manage("test")


@pytest.mark.once
def test_recipe_of_own_stages_works_as_printed(site: Site):
    site.write(HOWTO / "stages.md")
    job_id = site.run("from stages import ingest; print(ingest('scan.pdf', language='en'))")[-1]
    assert site.run(STATE.format(job_id)) == [
        "succeeded 1",
        "download completed 3000000 3000000",
        "ocr completed 12 12",
        "translation skipped 0 0",
        "index completed 0 0",
    ]


@pytest.mark.once
def test_recipe_of_threads_works_as_printed(site: Site):
    site.write(HOWTO / "threads.md")
    by_threads = site.run("from threads import ingest; print(ingest('report.pdf'))")[-1]
    assert site.run(STATE.format(by_threads)) == ["succeeded 0", "extraction completed 40 40"]


@pytest.mark.once
def test_readme_adds_what_the_first_job_adds(site: Site):
    """The README shows the same settings and URLs, so that what is tested there holds here."""
    readme = "".join(blocks(ROOT / "README.md", "python"))
    shown = "".join(blocks(ROOT / "docs" / "first-job.md", "python"))
    for line in readme.splitlines():
        if line.startswith(("ASGI", "DATABASES", '    "transaction', '    "init', "path(")):
            assert line.strip() in shown
