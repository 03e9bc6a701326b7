"""A database that stops, freezes or goes silent, and a row that another connection holds, while
processes track jobs, ingest, rescue lost jobs and stream.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.pipeline.test_processes import QUEUE
from tests.support.event_streams import events
from tests.support.live import LiveProject, LiveServer, live_project
from tests.support.relays import SilentRelay, silent_relay_to
from tests.support.servers import PostgreSQL, start_postgresql

pytestmark = pytest.mark.once

LEASE_SECONDS = 3
QUICK = {
    "LOST_AFTER_SECONDS": str(LEASE_SECONDS),
    "HEARTBEAT_SECONDS": "0.5",
    "LOG_FORMAT": "json",
}
# Counts in 20 jobs until the file exists, and tells how much it has counted.
COUNT_IN_20_JOBS = """
    import contextlib, json, pathlib, sys, time
    from ingestion_progress import track
    from ingestion_progress.concurrency import watchdog
    from ingestion_progress.tracker import database
    database.HUNG_SECONDS, watchdog.CHECK_SECONDS = 1.5, 0.2
    counted, until = 0, pathlib.Path(sys.argv[1])
    with contextlib.ExitStack() as blocks:
        jobs = [
            blocks.enter_context(track("a.pdf", job_id=f"job-{number}", stages=["one"]))
            for number in range(20)
        ]
        until.with_suffix(".started").touch()
        while not until.exists():
            for job in jobs:
                job.stage("one").advance()
            counted += 1
            time.sleep(0.02)
    print(json.dumps({"counted": counted}))
"""
RESULTS = """
    import json
    from ingestion_progress.models import Job
    jobs = Job.objects.prefetch_related("stages")
    print(json.dumps({
        job.pk: [job.status, job.attempt, [stage.processed for stage in job.stages.all()]]
        for job in jobs
    }))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    server = start_postgresql()
    yield server
    server.server.cleanup()


class Stream(threading.Thread):
    """Reads the stream of a job to its end."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.names: list[str] = []
        self.start()

    def run(self) -> None:
        with httpx.stream("GET", self.url, timeout=60) as response:
            self.names += [event.name for event in events(response)]


def wait_for(file: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def counted_through(
    project: LiveProject, folder: Path, outage: Callable[[LiveServer], None], **env: str
) -> None:
    """Nothing is lost by an outage: 20 jobs succeed in their first attempt, with exact counts.

    `env` is that of the web process.
    """
    web = project.serve("uvicorn", **QUICK | env)
    writer = project.python(COUNT_IN_20_JOBS, str(folder / "stop"), **QUICK)
    wait_for(folder / "stop.started")
    stream = Stream(f"{web.url}/api/v1/admin/ingestion/jobs/job-0/progress")
    time.sleep(LEASE_SECONDS + 1)  # heartbeats have been watched for a lease
    outage(web)
    time.sleep(LEASE_SECONDS + 2)
    (folder / "stop").touch()
    assert writer.wait(60) == 0, project.log.read_text()
    (counted,) = [each["counted"] for each in project.records() if "counted" in each]
    results = project.output_of(RESULTS)
    assert results == {f"job-{number}": ["succeeded", 1, [counted]] for number in range(20)}
    stream.join(30)
    assert stream.names[-1] == "complete"
    assert "error" not in stream.names


def stopped(server: PostgreSQL, seconds: float) -> None:
    with server.stopped():
        time.sleep(seconds)


def frozen(server: PostgreSQL, seconds: float) -> None:
    with server.frozen():
        time.sleep(seconds)


@pytest.mark.parametrize(
    ("act", "seconds"),
    [(stopped, 1), (stopped, 2.5 * LEASE_SECONDS), (frozen, 2.5 * LEASE_SECONDS)],
    ids=["short", "long", "frozen"],
)
def test_an_outage_kills_no_living_job_and_loses_no_count(server, tmp_path, act, seconds):
    with live_project(tmp_path, server.create_database()) as project:
        counted_through(project, tmp_path, lambda web: act(server, seconds))


@contextmanager
def project_behind_a_relay(
    server: PostgreSQL, folder: Path
) -> Iterator[tuple[LiveProject, SilentRelay]]:
    socket_dir, _, name = (
        server.create_database().removeprefix("postgres://postgres:@/").rpartition("/")
    )
    with silent_relay_to(Path("/" + socket_dir.lstrip("/"))) as (relay, relay_folder):
        with live_project(folder, f"postgres://postgres:@/{relay_folder}/{name}") as project:
            yield project, relay


def test_a_silent_network_kills_no_living_job_and_loses_no_count(server, tmp_path):
    with project_behind_a_relay(server, tmp_path) as (project, relay):

        def outage(web: LiveServer) -> None:
            relay.lose_packets()
            time.sleep(2 * LEASE_SECONDS)
            assert relay.is_silent
            relay.recover()

        counted_through(project, tmp_path, outage)
        assert "tracker_database_down" in project.log.read_text()


# Flushes while the network is silent, and goes on when it is back.
FLUSH = """
    import pathlib, sys, time
    from django.conf import settings
    settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = 1
    from ingestion_progress import track
    from ingestion_progress.concurrency import watchdog
    from ingestion_progress.exceptions import ProgressUnavailable
    from ingestion_progress.tracker import database
    database.HUNG_SECONDS, watchdog.CHECK_SECONDS = 1.5, 0.2
    folder = pathlib.Path(sys.argv[1])
    def wait_for(name):
        while not (folder / name).exists():
            time.sleep(0.02)
    with track("a.pdf", job_id="job", stages=["one"]) as job:
        (folder / "started").touch()
        wait_for("is_silent")
        job.stage("one").advance(7)
        try:
            job.flush()
        except ProgressUnavailable as error:
            (folder / "raised").write_text(str(error))
        wait_for("is_back")
        while True:
            try:
                job.flush()
                break
            except ProgressUnavailable:
                pass
"""


def test_flush_on_a_silent_network_raises_while_it_is_silent(server, tmp_path):
    with project_behind_a_relay(server, tmp_path) as (project, relay):
        process = project.python(FLUSH, str(tmp_path), **QUICK)
        wait_for(tmp_path / "started")
        relay.lose_packets()
        (tmp_path / "is_silent").touch()
        wait_for(tmp_path / "raised")
        assert relay.is_silent
        assert "did not confirm the progress of job job" in (tmp_path / "raised").read_text()
        relay.recover()
        (tmp_path / "is_back").touch()
        assert process.wait(60) == 0, project.log.read_text()
        assert project.output_of(ENDS) == {"job": ["succeeded", "", 1, 7]}


AGES = """
    import json
    from ingestion_progress.models import Job
    from ingestion_progress.models.clock import database_now
    now = database_now()
    print(json.dumps({
        job.pk: (now - job.heartbeat_at).total_seconds() for job in Job.objects.running()
    }))
"""


def are_apart(ages: dict[str, float]) -> bool:
    """Whether the row that is held is the only one without a heartbeat for two leases."""
    others = [age for job_id, age in ages.items() if job_id != "job-1"]
    return ages["job-1"] > 2 * LEASE_SECONDS > max(others) and len(others) == 19


def wait_for_ages(project: LiveProject, is_so: Callable[[dict[str, float]], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so(ages := project.ask(AGES)):
        assert time.monotonic() < deadline, (ages, project.log.read_text()[-3000:])
        time.sleep(0.1)


def test_a_row_that_another_connection_holds_delays_only_its_own_job(server, tmp_path):
    with live_project(tmp_path, server.create_database() + "?lock_timeout=1s") as project:

        def outage(web: LiveServer) -> None:
            url = project.env["DATABASE_URL"].partition("?")[0]
            socket_dir, _, name = url.removeprefix("postgres://postgres:@/").rpartition("/")
            with psycopg.connect(host=socket_dir, user="postgres", dbname=name) as holder:
                holder.execute("SELECT 1 FROM ingestion_progress_job WHERE id = 'job-1' FOR UPDATE")
                answer = httpx.post(
                    f"{web.url}/api/v1/admin/ingestion/jobs/job-1/cancellation", timeout=30
                )
                assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
                assert "cancellation of job job-1" in answer.json()["message"]
                wait_for_ages(project, are_apart)

        # The job is silent for longer than its lease: whether its writer or a rescuer writes next
        # is chance.
        counted_through(project, tmp_path, outage, RESCUING="false")


# Ends a job and fails another while the database is down, and lives on with both trackers.
END_DURING_AN_OUTAGE = """
    import pathlib, sys, time
    from django.conf import settings
    settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = 1
    from ingestion_progress import track
    from ingestion_progress.exceptions import ProgressUnavailable
    folder = pathlib.Path(sys.argv[1])
    def wait_for(name):
        while not (folder / name).exists():
            time.sleep(0.02)
    one, two, three = [track("a.pdf", job_id=name, stages=["one"]) for name in sys.argv[2:]]
    [job.start() for job in (one, two, three)]
    (folder / "started").touch()
    wait_for("is_down")
    try:
        one.stage("one").advance(3)
        one.complete()
    except ProgressUnavailable as error:
        assert "the end of job" in str(error), error
    else:
        raise AssertionError("the end was recorded")
    try:
        with two:
            two.stage("one").advance(4)
            raise ValueError("bad")
    except ValueError:
        pass
    try:
        with three:
            three.complete()
    except ProgressUnavailable:
        pass
    (folder / "ended").touch()
    wait_for("go")
"""
ENDS = """
    import json
    from ingestion_progress.models import Job
    print(json.dumps({
        job.pk: [job.status, job.error, job.attempt, job.stages.get().processed]
        for job in Job.objects.all()
    }))
"""


def test_an_end_that_the_database_does_not_take_in_time_is_recorded_later(server, tmp_path):
    with live_project(tmp_path, server.create_database()) as project:
        names = ["one", "two", "three"]
        project.spawn(sys.executable, "manage.py", "rescue_jobs", **QUICK)
        process = project.python(END_DURING_AN_OUTAGE, str(tmp_path), *names, **QUICK)
        wait_for(tmp_path / "started")
        with server.stopped():
            (tmp_path / "is_down").touch()
            wait_for(tmp_path / "ended")
        expected = {
            "one": ["succeeded", "", 1, 3],
            "two": ["failed", "bad", 1, 4],
            "three": ["succeeded", "", 1, 0],
        }
        deadline = time.monotonic() + 60
        while (ends := project.ask(ENDS)) != expected:
            assert time.monotonic() < deadline, (ends, project.log.read_text()[-3000:])
            time.sleep(0.1)
        assert process.poll() is None
        (tmp_path / "go").touch()
        assert process.wait(30) == 0, project.log.read_text()
        assert "Traceback" not in project.log.read_text()


# Extracts slowly from the chunks of a document, and tells from which.
SLOW_WORKER = """
    import sys, time
    from ingestion_progress.pipeline.stages.extraction import KeyphraseExtractor
    from ingestion_progress.pipeline.worker import IngestionWorker
    extract = KeyphraseExtractor.extract
    def slow(self, text, *args):
        with open(sys.argv[1], "a") as file:
            print(text.partition(":")[0], file=file)
        time.sleep(0.1)
        return extract(self, text, *args)
    KeyphraseExtractor.extract = slow
    IngestionWorker(interval_seconds=0.1).run()
"""
INGESTION = """
    import json, sys
    from django_tasks_db.models import DBTaskResult
    from ingestion_progress.models import Job
    from ingestion_progress.pipeline.models import Entity, Relation
    from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
    job = Job.objects.get(pk=sys.argv[1])
    stage = job.stages.get(name="extraction")
    of_document = {"document_id": job.document_id}
    mentions = [
        (entity.key, mention["chunk"])
        for entity in Entity.objects.filter(**of_document) for mention in entity.evidence
    ]
    print(json.dumps({
        "status": job.status, "attempt": job.attempt, "is_over": job.is_finished,
        "chunks": job.total_chunks, "extracted": [stage.status, stage.processed, stage.total],
        "errors": [job.failed_items, job.error_count, stage.failed],
        "counts": [job.qdrant_writes, job.entities_total, job.relations_total],
        "stored": job.is_finished and [
            EmbeddedVectors().count(job.document_id),
            Entity.objects.filter(**of_document).count(),
            Relation.objects.filter(**of_document).count(),
        ],
        "repeated": len(mentions) - len(set(mentions)),
        "task": list(DBTaskResult.objects.values_list("status", flat=True)),
    }))
"""


def wait_for_ingestion(project: LiveProject, job_id: str, is_so: Callable[[dict], bool]) -> dict:
    deadline = time.monotonic() + 120
    while not is_so(state := project.ask(INGESTION, job_id)):
        assert time.monotonic() < deadline, (state, project.log.read_text()[-3000:])
        time.sleep(0.1)
    return state


@pytest.mark.parametrize("act", [stopped, frozen])
def test_an_outage_under_a_busy_worker_costs_no_chunk(server, tmp_path, act):
    """The worker lives, each chunk is extracted once, and none counts as failed."""
    sentences = (f"{n:04}: Bees of hive {n} make honey for the keeper. " * 15 for n in range(150))
    (tmp_path / "bees.txt").write_text("\n\n".join(sentences))
    log = tmp_path / "extracted"
    with live_project(tmp_path, server.create_database()) as project:
        project.ask(QUEUE, str(tmp_path / "bees.txt"), "bees.txt", "job")
        worker = project.python(SLOW_WORKER, str(log), **QUICK)
        wait_for_ingestion(project, "job", lambda state: state["extracted"][1] > 20)
        act(server, 2.5 * LEASE_SECONDS)
        during = len(log.read_text().splitlines())
        ended = ["succeeded", ["SUCCESSFUL"]]
        state = wait_for_ingestion(project, "job", lambda s: [s["status"], s["task"]] == ended)
        assert worker.poll() is None
    assert 20 < during < state["chunks"]
    assert (state["status"], state["attempt"], state["errors"]) == ("succeeded", 1, [0, 0, 0])
    assert state["extracted"] == ["completed", state["chunks"], state["chunks"]]
    assert (state["stored"], state["repeated"]) == (state["counts"], 0)
    extracted = log.read_text().splitlines()
    assert len(extracted) == len(set(extracted)) == state["chunks"]
