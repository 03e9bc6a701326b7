"""Helps tests of wake-ups: writers in separate processes, and the latency of clients."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

from tests.support.event_streams import events, open_stream, progress_url
from tests.support.live import LiveProject, LiveServer

# So rare that no poll finds what arrives sooner.
RARE_POLLS = {"POLL_INTERVAL_SECONDS": "60", "THROTTLE_SECONDS": "0.05", "LOG_FORMAT": "json"}
SOON_SECONDS = 25.0
# Commits several times, with pauses, and records when each commit was done.
WRITE = """
    import sys, time
    from ingestion_progress import track
    job_id, count, path = sys.argv[1:]
    notes = open(path, "a", buffering=1)
    with notes, track("a.pdf", job_id=job_id, stages=["parsing"]) as job:
        stage = job.stage("parsing", total=int(count))
        stage.start()
        time.sleep(1.5)
        for number in range(1, int(count) + 1):
            stage.advance()
            job.flush()
            print(time.time(), file=notes)
            time.sleep(0.11)
"""


def latencies(server: LiveServer, folder: Path, count: int = 16, **env: str) -> list[float]:
    """Seconds from each commit of a writer to a client of the server, over sockets."""
    job_id, notes = uuid.uuid4().hex, folder / uuid.uuid4().hex
    server.project.queue_job(job_id)
    arrivals: dict[int, float] = {}
    with open_stream(progress_url(server.url, job_id)) as response:
        stream = events(response)
        next(stream)
        writer = server.project.python(WRITE, job_id, str(count), str(notes), **env)
        for event in stream:
            if event.name == "pipeline_progress":
                for number in range(1, event.data["stages"]["parsing"]["processed"] + 1):
                    arrivals.setdefault(number, time.time())
    assert writer.wait(60) == 0
    committed = [float(line) for line in notes.read_text().split()]
    # The end of the job delivers the last state in any case.
    return [arrivals[number] - at for number, at in enumerate(committed[:-1], start=1)]


def wakeup_logs(project: LiveProject, seen: int) -> list[dict]:
    """What was logged after the first `seen` characters."""
    return [each for each in project.records(seen) if each["event"].startswith("wakeups_")]


def logged_tracebacks(project: LiveProject, seen: int) -> list[dict]:
    """But those of the rescue of jobs that other tests left in the same database."""
    return [
        each
        for each in project.records(seen)
        if "exception" in each and each["logger"] != "ingestion_progress.recovery"
    ]


def wait_for_logs(project: LiveProject, seen: int, count: int, seconds: float = 60) -> list[dict]:
    deadline = time.monotonic() + seconds
    while len(found := wakeup_logs(project, seen)) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def cancel_elsewhere(project: LiveProject, job_id: str, **env: str) -> None:
    """Ends a queued job from another process."""
    source = """
        import sys
        from ingestion_progress.tracker import request_cancellation
        request_cancellation(sys.argv[1])
    """
    assert project.python(source, job_id, **env).wait(60) == 0, project.log.read_text()[-3000:]
