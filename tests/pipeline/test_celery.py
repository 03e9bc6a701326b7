"""TASK_QUEUE=celery: real workers, a real Redis, and processes that are killed."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator

import psutil
import pytest

from tests.pipeline.test_processes import QUEUE, STATE, is_over, is_parsing, waited_for
from tests.support.documents import long_guide
from tests.support.live import LiveProject, live_project
from tests.support.servers import Redis, free_port, redis_server, require_redis
from tests.support.tracking import eventually

pytestmark = pytest.mark.once

SEND_AGAIN = """
    import json, sys
    from django.utils.module_loading import import_string
    from ingestion_progress.pipeline.conf import conf
    print(json.dumps(import_string(conf.task).enqueue(sys.argv[1]).id))
"""
REVOKE = """
    import json, sys
    from progress_project.celery import app
    app.control.revoke(sys.argv[1], terminate=True)
"""
WAITING = """
    import json
    from progress_project.celery import app
    with app.connection_for_write() as connection:
        client = connection.default_channel.client
        names = [name for name in client.keys("ingestion*") if client.type(name) == b"list"]
        print(json.dumps([sum(map(client.llen, names)), client.hlen("unacked")]))
"""


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    require_redis()
    with redis_server() as redis:
        yield redis


@pytest.fixture(scope="module")
def project(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProject]:
    folder = tmp_path_factory.mktemp("celery")
    env = {
        "TASK_QUEUE": "celery",
        "REDIS_URL": redis.url,
        "LOG_FORMAT": "json",
        # Longer than a test takes: what a test waits for must not depend on the lease.
        "LOST_AFTER_SECONDS": "120",
    }
    database = f"sqlite:///{folder / 'progress.sqlite3'}"
    with live_project(folder, database, **env) as live:
        yield live


def started_worker(project: LiveProject, *options: str, **env: str) -> psutil.Popen:
    command = (sys.executable, "manage.py", "ingestion_worker", "--concurrency", "1", *options)
    return project.spawn(*command, **env)


def queued_document(project: LiveProject) -> str:
    """Queues a document that a worker ingests for some seconds."""
    job_id = uuid.uuid4().hex
    project.ask(QUEUE, str(long_guide(project.folder)), f"{job_id}.pdf", job_id)
    return job_id


def writer_of(project: LiveProject, job_id: str) -> int:
    """The process id of the worker's process that runs the job."""
    source = """
        import json, sys
        from ingestion_progress.models import Job
        print(json.dumps(Job.objects.get(pk=sys.argv[1]).writer))
    """
    return int(project.ask(source, job_id).rpartition("/")[2])


def assert_stored_once(state) -> None:
    assert state["status"] == "succeeded", state
    assert state["stored"] == state["counts"]
    assert (state["editions"], state["pages"]) == (1, 0)


def until_nothing_waits(project: LiveProject, seconds: float = 60) -> None:
    """All messages are acknowledged."""
    deadline = time.monotonic() + seconds
    while (waiting := project.ask(WAITING)) != [0, 0]:
        assert time.monotonic() < deadline, waiting
        time.sleep(0.1)


def test_job_of_a_killed_process_continues_without_waiting_for_a_lease(project):
    job_id = queued_document(project)
    started_worker(project)
    waited_for(project, job_id, is_parsing)
    os.kill(writer_of(project, job_id), signal.SIGKILL)
    state = waited_for(project, job_id, is_over)
    assert state["attempts"] == ["lost", "succeeded"]
    assert_stored_once(state)
    until_nothing_waits(project)


def test_stopped_worker_hands_its_job_back_and_another_continues_it(project):
    job_id = queued_document(project)
    worker = started_worker(project, "--grace", "0.1")
    waited_for(project, job_id, is_parsing)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    handed_back = project.ask(STATE, job_id)
    assert handed_back["status"] == "queued"
    assert handed_back["attempts"] == ["interrupted"]
    assert handed_back["parsed"] > 5
    started_worker(project)
    state = waited_for(project, job_id, is_over)
    assert state["attempts"] == ["interrupted", "succeeded"]
    assert_stored_once(state)


def deliveries(project: LiveProject, job_id: str) -> list[str]:
    """The status of the job at each delivery that changed nothing."""
    again = [record for record in project.records() if record["event"] == "task_delivered_again"]
    return [record["status"] for record in again if record["job_id"] == job_id]


def test_second_delivery_of_a_running_and_of_an_ended_job_changes_nothing(project):
    job_id = queued_document(project)
    started_worker(project)
    started_worker(project)
    waited_for(project, job_id, is_parsing)
    project.ask(SEND_AGAIN, job_id)
    state = waited_for(project, job_id, is_over)
    project.ask(SEND_AGAIN, job_id)
    # Not until nothing waits: a message that a worker has just taken is in neither list.
    eventually(lambda: len(deliveries(project, job_id)) == 2)
    assert deliveries(project, job_id) == ["running", "succeeded"]
    until_nothing_waits(project)
    ready = [record["event"] for record in project.records() if "@" in record["event"]]
    names = [event.removesuffix(" ready.") for event in ready if event.endswith(" ready.")]
    assert len(names) == len(set(names)) >= 2  # RabbitMQ refuses a second worker of a name
    assert project.ask(STATE, job_id) == state
    assert state["attempts"] == ["succeeded"]
    assert_stored_once(state)


def test_revoking_the_task_of_a_running_job_cancels_the_job(project):
    job_id = queued_document(project)
    started_worker(project)
    waited_for(project, job_id, is_parsing)
    (received,) = [
        record["data"]["id"]
        for record in project.records()
        if "received" in record["event"] and job_id in record["data"]["args"]
    ]
    project.ask(REVOKE, received)
    state = waited_for(project, job_id, is_over)
    assert state["status"] == "cancelled"
    until_nothing_waits(project)


def test_task_that_takes_longer_than_the_limit_fails_its_job(project):
    path = project.folder / "long.txt"
    path.write_text("\n\n".join(f"Bees of hive {n} make honey. " * 30 for n in range(5000)))
    job_id = uuid.uuid4().hex
    project.ask(QUEUE, str(path), "long.txt", job_id)
    started_worker(project, TASK_TIME_LIMIT_SECONDS="1")
    state = waited_for(project, job_id, is_over)
    assert state["status"] == "failed"
    assert state["error"] == "It took longer than the time limit of tasks."
    assert state["attempts"] == ["failed"]


def test_upload_is_refused_at_once_if_the_broker_is_down(project):
    source = """
        import io, json, time
        from ingestion_progress.models import Job
        from ingestion_progress.pipeline.exceptions import TaskNotQueued
        from ingestion_progress.pipeline.uploads.receive import receive
        try:
            receive(io.BytesIO(b"Bees make honey."), name="a.txt", job_id="refused")
        except TaskNotQueued as error:
            print(json.dumps([str(error), Job.objects.filter(pk="refused").exists()]))
    """
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    process = project.python(source, REDIS_URL="", BROKER_URL=nowhere)
    assert process.wait(30) == 0
    assert '["The task queue did not accept the document.' in project.log.read_text()
    assert '", false]' in project.log.read_text()
