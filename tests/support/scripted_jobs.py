"""Jobs that change step by step, each step in one transaction: a reader sees each step once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.live import LiveProject

STARTED_AT = "2026-01-02T03:04:05.678+00:00"
ENDED_AT = "2026-01-02T03:05:06.789+00:00"
# The arguments of a stage in addition to its counts.
RUNNING = {"status": "in_progress", "started_at": STARTED_AT}
COMPLETED = {"status": "completed", "started_at": STARTED_AT, "finished_at": ENDED_AT}

FORGET = """
    from ingestion_progress.models import Job
    Job.objects.all().delete()
"""
QUEUE = """
    import json, sys
    from ingestion_progress.tracker import queue_job
    queue_job("report.pdf", **json.loads(sys.argv[1]))
"""
# The tracker of a job that runs stays in the process.
START = """
    import json, sys, __main__
    from ingestion_progress import track
    __main__.trackers = getattr(__main__, "trackers", {})
    given = json.loads(sys.argv[1])
    __main__.trackers[given["job_id"]] = track("report.pdf", **given).__enter__()
"""
LEAVE = """
    import sys, __main__
    from ingestion_progress.exceptions import JobCancelled
    errors = {"JobCancelled": JobCancelled, "ValueError": ValueError}
    error = errors[sys.argv[2]](sys.argv[3]) if sys.argv[2] else None
    __main__.trackers.pop(sys.argv[1]).__exit__(error and type(error), error, None)
"""
# Without the tracker, which may write one report in two steps.
WRITE = """
    import json, sys
    from django.db import transaction
    from django.db.models import F
    from django.utils import timezone
    from ingestion_progress.models import Job, Stage, Worker
    job_id, columns, stages, workers = json.loads(sys.argv[1])
    now = timezone.now()
    with transaction.atomic():
        for name, values in stages.items():
            Stage.objects.filter(job_id=job_id, name=name).update(**values)
        for number, values in workers.items():
            Worker.objects.filter(job_id=job_id, number=number).update(**values)
        values = {"revision": F("revision") + 1, "updated_at": now, "heartbeat_at": now}
        Job.objects.filter(pk=job_id).update(**values | columns)
"""
CREATE = """
    import json, sys
    from ingestion_progress.models import Job, Stage, Worker
    columns, stages, workers = json.loads(sys.argv[1])
    job = Job.objects.create(**columns)
    for position, values in enumerate(stages):
        Stage.objects.create(job=job, position=position, **values)
    for number, values in enumerate(workers, 1):
        Worker.objects.create(job=job, number=number, **values)
"""
CALL = """
    import sys
    from ingestion_progress import tracker
    getattr(tracker, sys.argv[1])(*sys.argv[2:])
"""


@dataclass(frozen=True)
class ScriptedJobs:
    """The jobs of a project, written by its `Console`."""

    project: LiveProject

    def forget(self) -> None:
        """Deletes all jobs."""
        self.project.ask(FORGET)

    def create(
        self,
        *,
        stages: list[dict[str, Any]],
        workers: list[dict[str, Any]] | None = None,
        **columns: Any,
    ) -> None:
        """Creates a job with the given rows, times and epoch included."""
        self.project.ask(CREATE, json.dumps([columns, stages, workers or []]))

    def queue(self, job_id: str, **given: Any) -> None:
        self.project.ask(QUEUE, json.dumps({"job_id": job_id, **given}))

    def start(self, job_id: str, **given: Any) -> None:
        """Accepts the arguments of `track`; the job stays open."""
        self.project.ask(START, json.dumps({"job_id": job_id, **given}))

    def rescue(self) -> None:
        """Gives the jobs without a heartbeat their next attempt, or ends them."""
        self.project.ask("from tests.support.rescuing import rescue_now\nrescue_now()")

    def retry(self, job_id: str) -> None:
        """As a person does."""
        source = "import sys\nfrom ingestion_progress.recovery import retry_job\n"
        self.project.ask(source + "retry_job(sys.argv[1])", job_id)

    def lose(self, job_id: str, **given: Any) -> None:
        """A job that ran, in a process that has sent no heartbeat for an hour."""
        self.queue(job_id, **given)
        long_ago = str(datetime.now(UTC) - timedelta(hours=1))
        self.write(job_id, status="running", started_at=long_ago, heartbeat_at=long_ago)

    def write(
        self,
        job_id: str,
        *,
        stages: dict[str, dict[str, Any]] | None = None,
        workers: dict[int, dict[str, Any]] | None = None,
        **columns: Any,
    ) -> None:
        """Changes columns of the rows, and increases the revision."""
        self.project.ask(WRITE, json.dumps([job_id, columns, stages or {}, workers or {}]))

    def leave(self, job_id: str, error: str = "", message: str = "") -> None:
        """Ends a started job, as an exception in the block of its tracker does."""
        self.project.ask(LEAVE, job_id, error, message)

    def call(self, function: str, *args: str) -> None:
        """Calls a function of the tracker by its name."""
        self.project.ask(CALL, function, *args)
