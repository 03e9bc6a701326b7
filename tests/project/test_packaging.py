"""The wheel, in a bare Django project; and the locks that everything else is installed from."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.live import ROOT

pytestmark = pytest.mark.once

# What only the project and the reference ingestion need.
OPTIONAL = (
    "daphne", "channels", "structlog", "environ", "corsheaders", "servestatic", "django_tasks",
    "django_tasks_db", "qdrant_client", "pypdf", "selectolax", "markdown_it", "tenacity",
    "semantic_text_splitter", "qdrant_edge", "yake_rust", "pypdfium2", "PIL", "striprtf",
    "psycopg", "cryptography",
)  # fmt: skip

# What a user adds to a new project.
SETTINGS = """
INSTALLED_APPS += ["ingestion_progress"]
DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE"}
ALLOWED_HOSTS = ["testserver"]
"""
URLS = """
from django.urls import include
urlpatterns += [path("progress/", include("ingestion_progress.urls"))]
"""
WITHOUT_OPTIONAL = f"""
import os, sys
for name in {OPTIONAL!r}:
    sys.modules[name] = None  # importing it raises ImportError
os.environ["DJANGO_SETTINGS_MODULE"] = "bare.settings"
import django
django.setup()
import ingestion_progress
assert ingestion_progress.__file__.startswith(os.environ["SITE"]), ingestion_progress.__file__
"""
USE_IT = """
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client
from ingestion_progress import track

call_command("check", fail_level="WARNING")
call_command("migrate", verbosity=0)
with track("report.pdf", job_id="job-1", stages=["parsing"]) as job:
    with job.stage("parsing", total=2) as stage:
        stage.advance(2)

client = Client()
jobs = client.get("/progress/")
assert jobs.status_code == 200 and "report.pdf" in jobs.content.decode()
page = client.get("/progress/jobs/job-1/")
assert page.status_code == 200 and "100" in page.content.decode()
snapshot = client.get("/progress/api/v1/admin/ingestion/jobs/job-1/snapshot")
assert snapshot.status_code == 200, snapshot.content
assert b'"overall_progress_percent":100' in snapshot.content.replace(b" ", b""), snapshot.content
import re
for asset in re.findall(r'(?:href|src)="/static/([^"]+)"', page.content.decode()):
    assert finders.find(asset), asset
print("it works")
"""
IMPORT_ALL = """
import importlib, pkgutil
for module in pkgutil.walk_packages(ingestion_progress.__path__, "ingestion_progress."):
    short = module.name.removeprefix("ingestion_progress.")
    if not short.startswith(("pipeline", "asgi.servers", "concurrency.compat.")):
        importlib.import_module(module.name)
print("all imported")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ["-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder)]
    subprocess.run([sys.executable, *build], cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """A folder with the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    # An environment made by uv has no pip.
    installer = ["-m", "pip"] if importlib.util.find_spec("pip") else ["-m", "uv", "pip"]
    command = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(folder), str(wheel)]
    subprocess.run([sys.executable, *installer, *command], check=True)
    return folder


@pytest.fixture
def bare_project(site, tmp_path):
    """Runs Python in a new Django project that has the installed app."""
    start = [sys.executable, "-m", "django", "startproject", "bare", str(tmp_path)]
    subprocess.run(start, cwd=tmp_path, check=True)
    for name, addition in (("settings", SETTINGS), ("urls", URLS)):
        with (tmp_path / "bare" / f"{name}.py").open("a") as module:
            module.write(addition)

    def run(source: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_OPTIONAL + source],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "SITE": str(site)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.returncode, done.stderr
        return done.stdout

    return run


def test_wheel_carries_every_file_of_the_app(wheel):
    carried = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "ingestion_progress"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    files = {name for name in tracked if name and (ROOT / name).exists()}
    assert files <= carried
    for kind in ("/templates/", "/static/", "/migrations/0001", "py.typed"):
        assert any(kind in name for name in files), kind
    assert any(name.endswith("/licenses/LICENSE") for name in carried)
    assert not [name for name in carried if name.startswith(("tests/", "progress_project/"))]


def test_installed_app_works_in_a_bare_project_without_optional_packages(bare_project):
    assert "it works" in bare_project(USE_IT)


def test_all_but_the_ingestion_and_the_servers_imports_without_optional_packages(bare_project):
    assert "all imported" in bare_project(IMPORT_ALL)


@pytest.mark.parametrize("name", ["requirements.txt", "tests/requirements.txt"])
def test_locks_have_hashes_and_no_addresses(name):
    lock = (ROOT / name).read_text()
    assert not re.search(r"://|--(index-url|extra-index-url|find-links|trusted-host)", lock)
    pins = re.findall(r"^[\w.-]+(?:\[[\w, -]+\])?(==|>=|$| )", lock, re.MULTILINE)
    assert set(pins) == {"=="}
    for requirement in re.split(r"\n(?=\w)", lock)[1:]:
        assert "--hash=sha256:" in requirement, requirement


def test_both_locks_pin_the_same_versions():
    def pins(name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for package, version in re.findall(
            r"^([\w.-]+)(?:\[[\w, -]+\])?==(\S+)", (ROOT / name).read_text(), re.MULTILINE
        ):
            found.setdefault(package, set()).add(version)
        return found

    ours, tests = pins("requirements.txt"), pins("tests/requirements.txt")
    assert {version[:2] for version in ours["django"]} == {"5.", "6."}
    for package in ours.keys() & tests.keys():
        assert tests[package] <= ours[package], package


def test_locks_name_the_extras_that_are_asked_for():
    """Or pip takes `twisted==1` for no pin of `twisted[tls]`, and a new release breaks installs."""
    locked: dict[str, set[str]] = {}
    for name in ("requirements.txt", "tests/requirements.txt"):
        for package, extras in re.findall(
            r"^([\w.-]+)(?:\[([\w, -]+)\])?==", (ROOT / name).read_text(), re.MULTILINE
        ):
            locked.setdefault(package, set()).update(extras.split(", "))
    asked = [
        requirement
        for distribution in importlib.metadata.distributions()
        for requirement in map(Requirement, distribution.requires or ())
        if requirement.extras
        and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
    ]
    assert asked
    for requirement in asked:
        assert requirement.extras <= locked[canonicalize_name(requirement.name)], requirement
