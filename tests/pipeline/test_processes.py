"""The reference ingestion in several processes."""

from __future__ import annotations

import random
import signal
import sqlite3
import sys
import time
import uuid
from contextlib import closing

import pytest

from tests.support.documents import long_guide

pytestmark = pytest.mark.once

# A worker that dies with each document that contains the word.
POISONED = """
    import os
    from ingestion_progress.pipeline.stages.embedding import Bm25Embedder
    from ingestion_progress.pipeline.worker import IngestionWorker
    embed = Bm25Embedder.embed
    def dies_of_poison(self, text, language=""):
        if "poison" in text:
            os.kill(os.getpid(), 9)
        return embed(self, text, language)
    Bm25Embedder.embed = dies_of_poison
    IngestionWorker(interval_seconds=0.1).run()
"""
QUEUE = """
    import io, json, sys
    from ingestion_progress.pipeline.uploads.receive import receive
    path, name, job_id = sys.argv[1:]
    with open(path, "rb") as file:
        print(json.dumps(receive(file, name=name, job_id=job_id).document_id))
"""
STATE = """
    import json, sys
    from ingestion_progress.models import Job, Stage
    from ingestion_progress.pipeline.models import Edition, Entity, ParsedPage, Relation
    from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
    job = Job.objects.get(pk=sys.argv[1])
    of_document = {"document_id": job.document_id}
    is_over = job.is_finished
    print(json.dumps({
        "status": job.status, "attempt": job.attempt, "error": job.error,
        "percent": job.reached_percent,
        "attempts": list(job.attempts.order_by("number").values_list("status", flat=True)),
        "counts": [job.qdrant_writes, job.entities_total, job.relations_total],
        "stored": is_over and [
            EmbeddedVectors().count(job.document_id),
            Entity.objects.filter(**of_document).count(),
            Relation.objects.filter(**of_document).count(),
        ],
        "editions": Edition.objects.filter(**of_document).count(),
        "pages": ParsedPage.objects.filter(job_id=job.pk).count(),
        "parsed": Stage.objects.get(job=job, name="parsing").processed,
    }))
"""
IMPATIENT = {"LOST_AFTER_SECONDS": "3", "HEARTBEAT_SECONDS": "0.5", "MAX_ATTEMPTS": "2"}


def started_worker(project):
    command = (sys.executable, "manage.py", "ingestion_worker", "--interval", "0.1")
    return project.spawn(*command, **IMPATIENT)


def waited_for(project, job_id, condition, seconds=150):
    deadline = time.monotonic() + seconds
    while not condition(state := project.ask(STATE, job_id)):
        assert time.monotonic() < deadline, (state, project.log.read_text()[-3000:])
        time.sleep(0.1)
    return state


def is_over(state):
    """Its parsed pages are deleted immediately after its end."""
    return state["status"] not in {"queued", "running"} and not state["pages"]


def is_parsing(state):
    return state["status"] == "running" and state["parsed"] > 5 and state["pages"] > 0


def assert_only_the_whole_document_is_stored(state):
    assert (state["status"], state["attempt"], state["pages"]) == ("succeeded", 2, 0), state
    assert state["stored"] == state["counts"]
    assert state["editions"] == 1


def test_job_of_a_killed_worker_continues_with_another_worker(project):
    job_id = uuid.uuid4().hex
    project.ask(QUEUE, str(long_guide(project.folder)), f"{job_id}.pdf", job_id)
    worker = started_worker(project)
    before = waited_for(project, job_id, is_parsing)
    worker.kill()
    worker.wait(60)
    started_worker(project)
    queued = waited_for(project, job_id, lambda state: state["attempt"] == 2)
    assert queued["parsed"] >= before["parsed"]
    state = waited_for(project, job_id, is_over)
    assert state["attempts"] == ["lost", "succeeded"]
    assert_only_the_whole_document_is_stored(state)


def stop_between_transactions(project, worker):
    """A process that is stopped within one holds the lock of a SQLite file."""
    url = project.env["DATABASE_URL"]
    worker.send_signal(signal.SIGSTOP)
    while url.startswith("sqlite") and is_locked(url.removeprefix("sqlite:///")):
        worker.send_signal(signal.SIGCONT)
        time.sleep(0.05)
        worker.send_signal(signal.SIGSTOP)


def is_locked(path):
    with closing(sqlite3.connect(path, timeout=0.1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


def test_worker_that_was_stopped_beyond_its_lease_leaves_nothing_behind(project):
    job_id = uuid.uuid4().hex
    project.ask(QUEUE, str(long_guide(project.folder)), f"{job_id}.pdf", job_id)
    worker = started_worker(project)
    waited_for(project, job_id, is_parsing)
    stop_between_transactions(project, worker)
    started_worker(project)
    waited_for(
        project, job_id, lambda state: state["attempt"] == 2 and state["status"] == "running"
    )
    worker.send_signal(signal.SIGCONT)
    state = waited_for(project, job_id, is_over)
    assert_only_the_whole_document_is_stored(state)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert_only_the_whole_document_is_stored(project.ask(STATE, job_id))


def test_document_that_kills_its_worker_is_buried_and_the_others_go_on(project, tmp_path):
    (tmp_path / "good.txt").write_text("Bees make honey.")
    (tmp_path / "bad.txt").write_text("Bees make poison.")
    bad, good = uuid.uuid4().hex, uuid.uuid4().hex
    for job_id, path in ((bad, "bad.txt"), (good, "good.txt")):
        project.ask(QUEUE, str(tmp_path / path), f"{job_id}.txt", job_id)
    worker = project.python(POISONED, **IMPATIENT)
    deaths = 0
    while not is_over(state := project.ask(STATE, bad)) or state["editions"]:
        if worker.poll() is not None:
            deaths += 1
            assert deaths < 4
            worker = project.python(POISONED, **IMPATIENT)
        time.sleep(0.2)
    assert deaths == 2
    assert (state["status"], state["attempts"]) == ("lost", ["lost", "lost"])
    assert "The job was lost or failed 2 times in a row: no further attempt." in state["error"]
    assert state["stored"] == [0, 0, 0]
    assert waited_for(project, good, is_over)["status"] == "succeeded"


# The text, the stored file, and what else is left of a document.
DOCUMENT = """
    import json, sys
    from ingestion_progress.models import Job
    from ingestion_progress.pipeline.models import (
        DeletedEdition, Document, Edition, Entity, PendingVersion,
    )
    from ingestion_progress.pipeline.search import search
    from ingestion_progress.pipeline.stores.embedded.vectors import EmbeddedVectors
    document_id, *words = sys.argv[1:]
    document = Document.objects.filter(pk=document_id).first()
    of_document = {"document_id": document_id}
    rows = (DeletedEdition, Edition, Entity, PendingVersion)
    hits = {word: search(word, limit=100) for word in words}
    print(json.dumps({
        "found": [word for word in words if any(h.document_id == document_id for h in hits[word])],
        "stored": document and document.file.read().decode()[:5],
        "rows": [model.objects.filter(**of_document).count() for model in rows],
        "chunks": EmbeddedVectors().count(document_id),
        "active": Job.objects.active().filter(document_id=document_id).count(),
    }))
"""


def words(count):
    """A text of so many words that is ingested for some seconds."""
    letters = random.Random(count)
    return " ".join("".join(letters.choices("aeioubcdfgklmnprst", k=6)) for _ in range(count))


def uploaded(project, path, name, text):
    job_id = uuid.uuid4().hex
    path.write_text(text)
    return job_id, project.ask(QUEUE, str(path), name, job_id)


def is_writing(state):
    return state["status"] == "running" and state["counts"][1] > 0


def test_newer_version_is_ingested_while_the_older_one_runs_and_none_fails(project, tmp_path):
    workers = [started_worker(project) for _ in range(2)]
    name = f"{uuid.uuid4().hex}.txt"
    older, document_id = uploaded(project, tmp_path / name, name, f"old gadwall {words(600_000)}")
    waited_for(project, older, is_writing)
    newer, same_id = uploaded(project, tmp_path / name, name, "new pintail")
    assert same_id == document_id
    assert waited_for(project, newer, is_over)["status"] == "succeeded"
    assert waited_for(project, older, is_over)["status"] == "cancelled"
    state = waited_for_document(project, document_id, lambda state: state["rows"][1] == 1)
    assert (state["found"], state["stored"]) == (["pintail"], "new p")
    assert (state["chunks"], state["rows"][3]) == (1, 0)
    assert [worker.poll() for worker in workers] == [None, None]


def waited_for_document(project, document_id, condition):
    deadline = time.monotonic() + 60
    while not condition(state := project.ask(DOCUMENT, document_id, "gadwall", "pintail")):
        assert time.monotonic() < deadline, (state, project.log.read_text()[-3000:])
        time.sleep(0.1)
    return state


@pytest.mark.parametrize("is_killed", [False, True])
def test_deleting_a_document_cancels_its_running_job_and_nothing_remains(
    project, tmp_path, is_killed
):
    worker = started_worker(project)
    name = f"{uuid.uuid4().hex}.txt"
    job_id, document_id = uploaded(project, tmp_path / name, name, f"gadwall {words(600_000)}")
    waited_for(project, job_id, is_writing)
    project.manage("forget", "--name", name)
    if is_killed:
        worker.kill()
        started_worker(project)
    assert waited_for(project, job_id, is_over)["status"] == "cancelled"
    state = waited_for_document(
        project, document_id, lambda state: state["rows"] == [0, 0, 0, 0] and not state["chunks"]
    )
    assert (state["found"], state["stored"], state["active"]) == ([], None, 0)


UPLOAD = """
    import io, sys
    from ingestion_progress.pipeline.exceptions import AlreadyIngested
    from ingestion_progress.pipeline.uploads.receive import receive
    name, path = sys.argv[1:]
    try:
        job = receive(io.BytesIO(b"Bees make honey."), name=name, skips_known=True)
    except AlreadyIngested as known:
        job = known.job
    with open(path, "w") as file:
        file.write(job.pk)
"""


def test_the_same_content_from_several_processes_is_ingested_once(project, tmp_path):
    name = f"{uuid.uuid4().hex}.txt"
    results = [tmp_path / str(number) for number in range(4)]
    processes = [project.python(UPLOAD, name, str(path)) for path in results]
    assert [process.wait(60) for process in processes] == [0] * 4, project.log.read_text()[-3000:]
    (job_id,) = {path.read_text() for path in results}
    started_worker(project)
    assert waited_for(project, job_id, is_over)["status"] == "succeeded"
