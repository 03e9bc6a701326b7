"""Two Celery workers and two web processes, as on four hosts: one of each is killed meanwhile.

They share PostgreSQL, Redis and the storage of uploads and vectors, and nothing else: each has a
working folder of its own.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.pipeline.test_processes import STATE
from tests.support.api import JOBS
from tests.support.event_streams import Event, events, open_stream, progress_url
from tests.support.live import LiveProject, LiveServer, live_project
from tests.support.servers import postgresql, redis_server, require_redis

pytestmark = pytest.mark.once

DOCUMENTS = 20
BEFORE = 6
LONG = BEFORE - 1
LONG_SENTENCES = 20_000
ALL = "/api/v1/admin/ingestion/progress"
SENTENCE = "Worker bees number {0} visit the meadow of village {1} and make honey for its people. "
STATUSES = """
    import json
    from ingestion_progress.models import Job, Stage
    done = dict(Stage.objects.filter(name="parsing").values_list("job", "processed"))
    print(json.dumps({
        job.pk: [job.status, job.writer, done.get(job.pk, 0)] for job in Job.objects.all()
    }))
"""


@dataclass
class Hosts:
    project: LiveProject
    webs: list[LiveServer]
    workers: list[psutil.Popen]
    clients: list[Client] = field(default_factory=list)

    def statuses(self) -> dict[str, Any]:
        return dict(self.project.ask(STATUSES))


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    require_redis()
    shared = tmp_path_factory.mktemp("shared")
    with redis_server() as redis:
        env = {
            "TASK_QUEUE": "celery",
            "REDIS_URL": redis.url,
            "SECRET_KEY": uuid.uuid4().hex,
            "MEDIA_ROOT": str(shared / "uploads"),
            "QDRANT_PATH": str(shared / "qdrant"),
            "LOG_FORMAT": "json",
            "LOST_AFTER_SECONDS": "6",
            "HEARTBEAT_SECONDS": "0.5",
        }
        with live_project(shared, postgresql().create_database(), **env) as project:
            folders = (tmp_path_factory.mktemp("host") for _ in itertools.count())
            webs = [project.serve("uvicorn", VAR_DIR=str(next(folders))) for _ in range(2)]
            workers = [started_worker(project, next(folders)) for _ in range(2)]
            hosts = Hosts(project, webs, workers)
            yield hosts
            for client in hosts.clients:
                client.is_stopped = True
        for client in hosts.clients:
            client.thread.join(60)
            assert client.is_over


def started_worker(project: LiveProject, folder: Path) -> psutil.Popen:
    command = (sys.executable, "manage.py", "ingestion_worker", "--concurrency", "1")
    return project.spawn(*command, VAR_DIR=str(folder))


@dataclass
class Client:
    """Follows one job, or all, and reconnects to the other web process as an EventSource would."""

    urls: list[str]
    seen: list[Event] = field(default_factory=list)
    connections: int = 0
    is_stopped: bool = False
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        cursor: dict[str, str] = {}
        for url in itertools.cycle(self.urls):
            if self.is_stopped:
                return
            try:
                with open_stream(url, **cursor) as response:
                    response.raise_for_status()
                    self.connections += 1
                    if response.status_code == 204:
                        return
                    for event in events(response):
                        self.seen.append(event)
                        cursor = {"Last-Event-ID": event.cursor} if event.cursor else cursor
                        if event.name == "complete" and "job_id" not in event.data:
                            return
                        if self.is_stopped:
                            return
            except (httpx.TransportError, httpx.HTTPStatusError):
                time.sleep(0.05)

    @property
    def is_over(self) -> bool:
        return not self.thread.is_alive()

    def ends(self) -> Counter[str]:
        return Counter(
            f"{event.name} {event.data.get('job_id', '')}".strip()
            for event in self.seen
            if event.name in {"complete", "error"}
        )

    @property
    def last_state(self) -> dict[str, Any]:
        return [event.data for event in self.seen if event.name == "pipeline_progress"][-1]


def uploaded(hosts: Hosts, number: int) -> str:
    """The id of the job. One document is longer than the others."""
    count = LONG_SENTENCES if number == LONG else 60
    lines = [SENTENCE.format(each, number) for each in range(count)]
    name, content = f"village-{number}.txt", "\n\n".join(lines).encode()
    url = hosts.webs[number % 2 or number >= BEFORE].url + JOBS
    answer = httpx.post(url, files={"file": (name, content)}, timeout=60).raise_for_status()
    return str(answer.json()["job_id"])


def watching(hosts: Hosts, job_id: str, number: int) -> Client:
    urls = [progress_url(web.url, job_id) if job_id else web.url + ALL for web in hosts.webs]
    client = Client(urls if number % 2 == 0 else urls[::-1])
    hosts.clients.append(client)
    return client


def wait_for(condition, hosts: Hosts, seconds: float = 150) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, (
            hosts.statuses(),
            hosts.project.log.read_text()[-3000:],
        )
        time.sleep(0.1)
    return found


def worker_of(hosts: Hosts, job_id: str) -> psutil.Popen | None:
    """The worker that has begun with the document; None before that."""
    status, writer, parsed = hosts.statuses()[job_id]
    assert status in {"queued", "running"}
    pid = int(writer.rpartition("/")[2] or 0)
    return next((each for each in hosts.workers if parsed and pid in children_of(each)), None)


def children_of(worker: psutil.Popen) -> set[int]:
    return {child.pid for child in psutil.Process(worker.pid).children(recursive=True)}


def test_every_client_sees_every_job_end_once_although_a_worker_and_a_web_process_die(hosts):
    everything = [watching(hosts, "", number) for number in range(2)]
    wait_for(lambda: all(client.connections for client in everything), hosts)
    clients: dict[str, Client] = {}
    for number in range(BEFORE):
        job_id = uploaded(hosts, number)
        clients[job_id] = watching(hosts, job_id, number)
    long = list(clients)[LONG]
    os.killpg(wait_for(lambda: worker_of(hosts, long), hosts).pid, signal.SIGKILL)
    hosts.webs[0].process.kill()
    for number in range(BEFORE, DOCUMENTS):
        job_id = uploaded(hosts, number)
        clients[job_id] = watching(hosts, job_id, number)

    wait_for(lambda: all(client.is_over for client in clients.values()), hosts)
    states = {job_id: hosts.project.ask(STATE, job_id) for job_id in clients}
    assert {state["status"] for state in states.values()} == {"succeeded"}
    assert states[long]["attempts"][0] == "lost"
    assert len(states[long]["attempts"]) > 1
    for job_id, client in clients.items():
        state = states[job_id]
        assert state["stored"] == state["counts"]
        assert state["editions"] == 1
        # The connection may have broken between the last state and its end: then 204 follows.
        assert client.ends() in ({"complete": 1}, {})
        shown = client.last_state
        assert shown["overall_progress_percent"] == 100
        names = ("qdrant_writes", "entities_total", "relations_total")
        assert [shown["metrics"][name] for name in names] == state["counts"]
        assert shown["total_chunks"] == shown["stages"]["embedding"]["processed"]
        assert shown["total_chunks"] == state["counts"][0] > 0

    wait_for(lambda: all(len(each.ends()) == DOCUMENTS for each in everything), hosts)
    of_killed, of_other = everything
    assert of_other.ends() == {f"complete {job_id}": 1 for job_id in clients}
    # A client that resumes may get an end again.
    assert of_killed.ends().keys() == of_other.ends().keys()
    assert of_killed.connections > 1
