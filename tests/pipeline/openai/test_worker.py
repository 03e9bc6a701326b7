"""A real worker whose models are away, limited or silent, and come back."""

from __future__ import annotations

import base64
import sys
import time
import uuid

import pytest

from tests.pipeline.test_cancellations import CANCEL, LIMIT_SECONDS, Lateness
from tests.pipeline.test_processes import QUEUE
from tests.support.documents import png
from tests.support.fake_openai import failing, good, slow

pytestmark = pytest.mark.once

STATE = """
    import json, sys
    from django.utils import timezone
    from ingestion_progress.models import Job
    from ingestion_progress.pipeline.models import Relation
    from ingestion_progress.wire.snapshots import load_snapshot
    job = Job.objects.get(pk=sys.argv[1])
    state = load_snapshot(job.pk).state(timezone.now())
    requested, finished = job.cancel_requested_at, job.finished_at
    print(json.dumps({
        "status": job.status, "result": job.result, "attempt": job.attempt, "error": job.error,
        "attempts": list(job.attempts.order_by("number").values_list("status", flat=True)),
        "waiting_for": state.waiting_for, "liveness": state.liveness,
        "heartbeat": str(job.heartbeat_at), "counters": job.counters,
        "failed_items": job.failed_items,
        "vlm": job.stages.get(name="vlm").status,
        "relations": Relation.objects.filter(document_id=job.document_id).count(),
        "took": (finished - requested).total_seconds() if finished and requested else 0,
        "log": list(job.events.order_by("pk").values_list("message", flat=True)),
    }))
"""
SEARCH = """
    import json, sys
    from ingestion_progress.pipeline.search import search
    print(json.dumps([hit.text for hit in search(sys.argv[1])]))
"""


@pytest.fixture
def models(server):
    server.reset()
    server.start()
    return server


def started_worker(project, models):
    package = "ingestion_progress.pipeline.openai"
    return project.spawn(
        *(sys.executable, "manage.py", "ingestion_worker", "--interval", "0.1"),
        LOG_LEVEL="DEBUG",
        HEARTBEAT_SECONDS="0.3",
        STALLED_AFTER_SECONDS="1",
        EXTRACTOR=f"{package}.extractor.OpenAIExtractor",
        DESCRIBER=f"{package}.describer.OpenAIDescriber",
        OPENAI_BASE_URL=models.url,
        OPENAI_API_KEY="sk-secret",
        OPENAI_EXTRACTION_MODEL="small",
        OPENAI_DESCRIPTION_MODEL="seeing",
        OPENAI_TIMEOUT_SECONDS="30",
    )


def uploaded(project, folder, text: str) -> str:
    job_id = uuid.uuid4().hex
    url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    path = folder / f"{job_id}.html"
    path.write_text(f"<p>{text}</p><img src='{url}' alt='A shape'>")
    project.ask(QUEUE, str(path), path.name, job_id)
    return job_id


def waited_for(project, job_id, condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition(state := project.ask(STATE, job_id)):
        assert time.monotonic() < deadline, (state, project.log.read_text()[-3000:])
        time.sleep(0.05)
    return state


def test_an_outage_pauses_the_stage_and_a_stopped_worker_hands_the_job_back(
    own_project, models, tmp_path
):
    project, service = own_project, f"the model at {models.host}"
    models.stop()
    job_id = uploaded(project, tmp_path, "Ada met Grace. Zephyrine Quux.")
    worker = started_worker(project, models)
    state = waited_for(project, job_id, lambda state: state["waiting_for"] == service)
    time.sleep(2)  # longer than a job may be without changes
    later = project.ask(STATE, job_id)
    assert (later["waiting_for"], later["liveness"], later["vlm"]) == (
        service,
        "working",
        "in_progress",
    )
    assert later["heartbeat"] > state["heartbeat"]
    worker.terminate()
    assert worker.wait(20) == 0
    state = project.ask(STATE, job_id)
    assert (state["status"], state["attempts"], state["waiting_for"]) == (
        "queued",
        ["interrupted"],
        "",
    )
    worker = started_worker(project, models)
    waited_for(project, job_id, lambda state: state["waiting_for"] == service)
    models.script.extend(
        [failing(503), failing(429, Retry_After="1"), failing(500), slow(0.5), good]
    )
    models.start()
    state = waited_for(project, job_id, lambda state: state["status"] != "running")
    assert (state["status"], state["result"], state["attempt"]) == ("succeeded", "succeeded", 2)
    assert (state["failed_items"], state["relations"] > 0) == (0, True)
    assert state["counters"]["prompt_tokens"] >= 200
    assert f"Waiting for {service}." in state["log"]
    assert f"No longer waiting for {service}." in state["log"]
    assert project.ask(SEARCH, "square")[0].endswith("A shape. A red square.")

    models.always = failing(429, Retry_After="3000")
    job_id = uploaded(project, tmp_path, "Grace met Ada.")
    waited_for(project, job_id, lambda state: state["waiting_for"] == service)
    with Lateness.measured() as lateness:
        project.ask(CANCEL, job_id)
        state = waited_for(project, job_id, lambda state: state["took"])
    assert (state["status"], state["waiting_for"]) == ("cancelled", "")
    assert state["took"] < LIMIT_SECONDS + lateness.seconds
    worker.terminate()
    assert worker.wait(20) == 0
    log = project.log.read_text()
    for secret in ("sk-secret", "Zephyrine", "base64"):
        assert secret not in log
