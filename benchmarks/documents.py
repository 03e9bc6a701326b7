"""Documents per hour against workers: `python -m benchmarks.documents [DOCUMENTS] [ROUNDS]`.

Workers of the queue in the database and of Celery ingest the same texts into PostgreSQL and the
embedded Qdrant, all on this machine. A round has each number of workers once. What counts is the
time from the start of the first job to the end of the last. JSON goes to `var/bench/results/`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.processes import ROOT, cpu_seconds, with_children
from benchmarks.stage import Stage
from tests.support.servers import PostgreSQL, Redis, redis_server, start_postgresql

TEXT = ROOT / "examples" / "documents" / "rst2pdf-manual.txt"
DOCUMENT_CHARACTERS = 20_000
TIMES = """
import json
from django.db.models import Count, Max, Min, Q, Sum
from ingestion_progress.models import Job
print(json.dumps(Job.objects.aggregate(
    waiting=Count("pk", filter=Q(status__in=["queued", "running"])),
    succeeded=Count("pk", filter=Q(status="succeeded")),
    chunks=Sum("total_chunks"), began=Min("started_at"), ended=Max("finished_at"),
), default=lambda at: at.timestamp()))
"""


@dataclass(frozen=True)
class Workers:
    queue: str
    count: int
    chunks_per_task: int = 0

    @property
    def label(self) -> str:
        shared = f", {self.chunks_per_task} chunks per task" if self.chunks_per_task else ""
        return f"{self.count} × {self.queue}{shared}"


CANDIDATES = (
    Workers("database", 1),
    Workers("database", 2),
    Workers("celery", 1),
    Workers("celery", 2),
    Workers("celery", 4),
)


def write_documents(folder: Path, count: int) -> None:
    """Texts of equal length, each another part of the manual."""
    folder.mkdir()
    text = TEXT.read_text()
    step = (len(text) - DOCUMENT_CHARACTERS) // max(1, count - 1)
    for number in range(count):
        part = text[number * step : number * step + DOCUMENT_CHARACTERS]
        (folder / f"document-{number}.txt").write_text(part)


def measured(
    workers: Workers, documents: Path, postgresql: PostgreSQL, redis: Redis
) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stage = Stage(folder)
        env = os.environ | stage.environment_on(postgresql.create_database())
        env |= {
            "TASK_QUEUE": workers.queue,
            "REDIS_URL": redis.url,
            "CHUNKS_PER_TASK": str(workers.chunks_per_task),
        }
        manage(env, "migrate", "--verbosity", "0")
        with running_workers(workers, env, folder / "log") as processes:
            cpu = cpu_of(processes)
            manage(env, "ingest", "--detach", str(documents))
            while (found := json.loads(manage(env, "shell", "-v", "0", "-c", TIMES)))["waiting"]:
                time.sleep(1)
            cpu = cpu_of(processes) - cpu
    count, seconds = found["succeeded"], found["ended"] - found["began"]
    if count != len(list(documents.iterdir())):
        raise RuntimeError(f"{workers.label}: only {count} documents were ingested")
    return {
        "seconds": seconds,
        "per_hour": count / seconds * 3600,
        "chunks_per_second": found["chunks"] / seconds,
        "cpu_seconds_per_document": cpu / count,
    }


def cpu_of(processes: Sequence[subprocess.Popen[bytes]]) -> float:
    """Seconds that the workers and the processes of their pools have used."""
    pids = [each.pid for process in processes for each in with_children(process.pid)]
    return sum(map(cpu_seconds, pids))


@contextmanager
def running_workers(
    workers: Workers, env: dict[str, str], log: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    options = ["--interval", "0.1"]
    if workers.queue == "celery":
        options = ["--concurrency", "1"]
    command = [sys.executable, "manage.py", "ingestion_worker", "--skip-checks", *options]
    with ExitStack() as stack, log.open("wb") as output:
        processes = []
        for _ in range(workers.count):
            process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=output, stderr=output, start_new_session=True
            )
            processes.append(process)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        ready = b" ready." if workers.queue == "celery" else b"worker_started"
        deadline = time.monotonic() + 120
        while log.read_bytes().count(ready) < workers.count:
            if time.monotonic() > deadline:
                raise RuntimeError(log.read_text()[-2000:])
            time.sleep(0.2)
        yield processes


def manage(env: dict[str, str], *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=ROOT,
        env=env,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return done.stdout


def report(found: dict[str, list[dict[str, float]]], documents: int) -> str:
    head = f"| workers | documents/h (of {documents}) | × the first | chunks/s | CPU s/document |"
    lines = [head, "|---|---|---|---|---|"]
    base = statistics.median(each["per_hour"] for each in found[CANDIDATES[0].label])
    for label, runs in found.items():
        hours = [run["per_hour"] for run in runs]
        chunks = statistics.median(run["chunks_per_second"] for run in runs)
        middle = statistics.median(hours)
        spread = f"{middle:,.0f} ({min(hours):,.0f}–{max(hours):,.0f})"
        cpu = statistics.median(run["cpu_seconds_per_document"] for run in runs)
        lines.append(f"| {label} | {spread} | {middle / base:.2f} | {chunks:.1f} | {cpu:.2f} |")
    return "\n".join(lines)


def main(documents: int, rounds: int) -> None:
    found: dict[str, list[dict[str, float]]] = {each.label: [] for each in CANDIDATES}
    loads: list[Sequence[float]] = []
    postgresql = start_postgresql()
    with tempfile.TemporaryDirectory() as name, redis_server() as redis:
        folder = Path(name) / "documents"
        write_documents(folder, documents)
        for _ in range(rounds):
            for workers in CANDIDATES:
                loads.append([round(each, 2) for each in os.getloadavg()])
                run = measured(workers, folder, postgresql, redis)
                found[workers.label].append(run)
                print(f"{workers.label}: {run['per_hour']:,.0f} documents/h", file=sys.stderr)
    print(report(found, documents))
    now = datetime.now(tz=UTC)
    result = {
        "kind": "documents",
        "title": "documents an hour by the number of workers",
        "at": now.isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "load_averages_before_each_run": loads},
        "packages": {name: version(name) for name in ("django", "celery", "kombu", "redis")},
        "documents": documents,
        "characters": DOCUMENT_CHARACTERS,
        "runs": found,
    }
    path = ROOT / "var" / "bench" / "results" / f"{now:%Y-%m-%d}-documents.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:3]]
    main(*(*given, *(24, 3)[len(given) :]))
