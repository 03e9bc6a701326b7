from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ingestion_progress.feed import get_feed
from tests.support.emptying import empty_quickly
from tests.support.live import LiveProject, LiveServer, live_project, none_outlives
from tests.support.recorder import QUICK, Recording
from tests.support.scripted_jobs import ScriptedJobs
from tests.support.servers import postgresql

if TYPE_CHECKING:
    from ingestion_progress.feed import Feed

# A shell that starts the tests in the background ignores SIGINT, and the processes that the tests
# start and interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Under nohup, programs that the tests start would inherit that SIGHUP is ignored. A signal with a
# handler has its default in a new program, and this process still outlives its terminal.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)


LIVE_PROJECTS = {"project", "sqlite_project", "own_project", "recorded_project"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs files that start processes first, because they take longest: a run with several workers
    then ends with short files.
    """
    items.sort(key=lambda item: not _starts_processes(item))


def _starts_processes(item: pytest.Item) -> bool:
    fixtures = item.fixturenames if isinstance(item, pytest.Function) else ()
    return item.get_closest_marker("once") is not None or not LIVE_PROJECTS.isdisjoint(fixtures)


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Keeps the databases until their folder is deleted: async threads may hold connections."""
    return True


@pytest.fixture(autouse=True)
def _processes_end_with_their_test() -> Iterator[None]:
    with none_outlives():
        yield


@pytest.fixture
async def feed(settings) -> AsyncIterator[Feed]:
    """The feed of the process with short intervals; fails if a subscriber is left."""
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 0.01
    settings.INGESTION_PROGRESS_THROTTLE_SECONDS = 0.02
    feed = get_feed()
    yield feed
    assert feed.subscriber_count == 0
    assert feed.watched_job_count == 0
    await asyncio.sleep(0)


# `TEST_PROJECT_DATABASES=sqlite` leaves PostgreSQL out, for a run that tests it separately.
PROJECT_DATABASES = os.environ.get("TEST_PROJECT_DATABASES", "sqlite postgresql").split()


@pytest.fixture(scope="session", params=PROJECT_DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An empty database for real processes; tests that use it run on SQLite and PostgreSQL."""
    if request.param == "postgresql":
        return postgresql().create_database()
    return f"sqlite:///{tmp_path_factory.mktemp('database') / 'progress.sqlite3'}"


@pytest.fixture(scope="session")
def project(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProject]:
    """The project on each database, migrated once; tests share it and use separate jobs."""
    with live_project(tmp_path_factory.mktemp("project"), database_url) as live:
        yield live


@pytest.fixture(scope="session")
def sqlite_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProject]:
    """The project on SQLite only, for tests that do not depend on the database."""
    folder: Path = tmp_path_factory.mktemp("sqlite-project")
    with live_project(folder, f"sqlite:///{folder / 'progress.sqlite3'}") as live:
        yield live


@pytest.fixture(scope="module")
def own_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProject]:
    """A project of the module: its worker does not ingest the uploads of other tests."""
    folder: Path = tmp_path_factory.mktemp("own-project")
    with live_project(folder, f"sqlite:///{folder / 'progress.sqlite3'}") as live:
        yield live


@pytest.fixture(scope="session")
def recorded_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProject]:
    """The project whose streams are compared with recordings: no other test writes jobs there."""
    folder: Path = tmp_path_factory.mktemp("recorded-project")
    with live_project(folder, f"sqlite:///{folder / 'progress.sqlite3'}", **QUICK) as live:
        yield live


@pytest.fixture(scope="session")
def recorded_server(recorded_project: LiveProject) -> LiveServer:
    """Public, and without keep-alives, which a slow step would add to the recording."""
    return recorded_project.serve("uvicorn")


@pytest.fixture
def jobs(recorded_project: LiveProject) -> ScriptedJobs:
    """Jobs in the project whose streams are compared; at first there is none."""
    jobs = ScriptedJobs(recorded_project)
    jobs.forget()
    return jobs


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> Recording:
    """The recording that the test compares with."""
    return Recording(request.node.name.removeprefix("test_"))


empty_quickly()
