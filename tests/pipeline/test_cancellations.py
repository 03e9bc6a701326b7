"""Cancelling the reference ingestion in each of its stages, in a real worker."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.pipeline.test_processes import QUEUE
from tests.support.live import LiveProject

pytestmark = pytest.mark.once

LIMIT_SECONDS = 2.0
# A worker whose items take a tenth of a second in the stage that the document names. A page that
# says "loop" is parsed for a minute.
SLOW_WORKER = """
    import time
    from django.conf import settings
    from ingestion_progress.pipeline.stages.chunking import SemanticChunker
    from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
    from ingestion_progress.pipeline.stages.extraction import KeyphraseExtractor
    from ingestion_progress.pipeline.stages.image_description import MetadataDescriber
    from ingestion_progress.pipeline.worker import IngestionWorker
    def slow(owner, name, is_slow):
        act = getattr(owner, name)
        def slowed(self, item, *language):
            if is_slow(item):
                time.sleep(0.1)
            return act(self, item, *language)
        setattr(owner, name, slowed)
    def slow_chunks(self, page, first_number):
        for chunk in chunks(self, page, first_number):
            if "chunking" in page.text:
                time.sleep(0.1)
            yield chunk
    settings.INGESTION_PROGRESS_PARSERS = {"text/markdown": "tests.support.parsers.ScriptedParser"}
    slow(MetadataDescriber, "describe", lambda picture: True)
    slow(Bm25Embedder, "embed", lambda text: "embedding" in text)
    slow(KeyphraseExtractor, "extract", lambda text: "extraction" in text)
    chunks, SemanticChunker.chunks = SemanticChunker.chunks, slow_chunks
    IngestionWorker(interval_seconds=0.1).run()
"""
STATE = """
    import json, sys
    from ingestion_progress.models import Job, Stage
    from ingestion_progress.pipeline.models import Edition, Entity
    from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
    job = Job.objects.get(pk=sys.argv[1])
    stage = Stage.objects.get(job=job, name=sys.argv[2])
    took = job.is_finished and (job.finished_at - job.cancel_requested_at).total_seconds()
    print(json.dumps({
        "status": job.status, "in_flight": stage.in_flight, "took": took,
        "stage": stage.status,
        "has_left_nothing": job.is_finished and not (
            Edition.objects.filter(job_id=job.pk).count()
            + Entity.objects.filter(document_id=job.document_id).count()
            + EmbeddedVectors().count(job.document_id)
        ),
    }))
"""
CANCEL = """
    import json, sys
    from ingestion_progress.tracker import request_cancellation
    print(json.dumps(request_cancellation(sys.argv[1]).status))
"""
PICTURES = "".join(
    f'<img src="{number}.png" alt="A bee, number {number}">' for number in range(200)
)


class Lateness(threading.Thread):
    """How much longer than requested this machine has slept, in seconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds = 0.0
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.is_set():
            before = time.monotonic()
            time.sleep(0.01)
            self.seconds += time.monotonic() - before - 0.01

    @classmethod
    @contextmanager
    def measured(cls) -> Iterator[Lateness]:
        lateness = cls()
        lateness.start()
        yield lateness
        lateness._is_over.set()
        lateness.join()


def content_of(stage: str) -> tuple[bytes, str]:
    if stage == "parsing":
        return b"Bees make honey.\nloop", "md"
    if stage == "vlm":
        return f"<p>Bees make honey.</p>{PICTURES}".encode(), "html"
    return f"The {stage} of bees makes honey, and takes its time.\n\n".encode() * 5000, "txt"


def cancelled(project: LiveProject, file: Path, stage: str) -> dict:
    """The end of a job that was cancelled while the stage had items in flight."""
    job_id = uuid.uuid4().hex
    project.ask(QUEUE, str(file), file.name, job_id)
    wait_until(project, job_id, stage, "in_flight")
    with Lateness.measured() as lateness:
        project.ask(CANCEL, job_id)
        wait_until(project, job_id, stage, "took")
    state = wait_until(project, job_id, stage, "has_left_nothing")
    return state | {"limit": LIMIT_SECONDS + lateness.seconds}


def wait_until(project: LiveProject, job_id: str, stage: str, name: str) -> dict:
    """Waits for a value that is not 0."""
    deadline = time.monotonic() + 90
    while not (state := project.ask(STATE, job_id, stage))[name]:
        assert time.monotonic() < deadline, (state, project.log.read_text()[-3000:])
        time.sleep(0.05)
    return state


def test_a_job_stops_within_two_seconds_in_each_stage(project, tmp_path):
    project.python(SLOW_WORKER)
    states = {}
    for stage in ("parsing", "vlm", "chunking", "embedding", "extraction"):
        content, extension = content_of(stage)
        file = tmp_path / f"{stage}.{extension}"
        file.write_bytes(content)
        states[stage] = cancelled(project, file, stage)
    for stage, state in states.items():
        assert (state["status"], state["stage"]) == ("cancelled", "error"), (stage, states)
        assert state["took"] < state["limit"], (stage, states)
