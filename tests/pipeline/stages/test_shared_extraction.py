"""Several workers extract from the chunks of one document."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable

import psutil
import pytest

from ingestion_progress.exceptions import ProgressUnavailable
from ingestion_progress.models import Job, Stage
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Entity, Relation
from ingestion_progress.pipeline.stages import Chunk, shared_extraction
from ingestion_progress.pipeline.stages.extraction import KeyphraseExtractor
from ingestion_progress.pipeline.stages.shared_extraction import Batches, extract_part
from ingestion_progress.tracker.stages import StageTracker
from tests.pipeline.test_ingestion import assert_counts_are_what_is_stored, queued
from tests.pipeline.test_processes import QUEUE, STATE
from tests.support.documents import pdf, storage  # noqa: F401
from tests.support.live import LiveProject, live_project
from tests.support.servers import postgresql, redis_server, require_redis

in_process = pytest.mark.usefixtures("storage", "transactional_db", "shared")
PAGES = 6


@pytest.fixture
def shared(settings) -> None:
    settings.INGESTION_PROGRESS_CHUNKS_PER_TASK = 4
    settings.INGESTION_PROGRESS_EXTRACTION_WORKERS = 1


@pytest.fixture
def sent(monkeypatch) -> list[tuple]:
    """The tasks that are sent to other workers, which do not run."""
    sent: list[tuple] = []

    class Task:
        def enqueue(self, *args) -> None:
            sent.append(args)

        def get_backend(self):
            return type("Backend", (), {"supports_priority": False})

    monkeypatch.setattr(shared_extraction, "import_string", lambda path: Task())
    return sent


def chunks(*numbers: int) -> list[Chunk]:
    return [Chunk(key=f"c-{number}", text="Bees make honey.") for number in numbers]


def done_by(job: Job) -> int:
    return Stage.objects.get(job=job, name="extraction").processed


def test_newest_batch_that_is_not_done_is_taken_first():
    done: set[str] = set()
    batches = Batches(lambda chunk: chunk.key in done, lambda: None)
    for numbers in ((1, 2), (3, 4), (5, 6)):
        batches.add(chunks(*numbers))
    assert batches.take() == chunks(5, 6)
    done |= {"c-3", "c-4", "c-1"}
    assert batches.take() == chunks(2)
    assert batches.take() == ()


def test_a_thread_that_waits_for_the_database_does_not_keep_others_from_extracting():
    answers, is_looking = threading.Event(), threading.Event()

    def look() -> None:
        is_looking.set()
        assert answers.wait(30)

    batches = Batches(lambda chunk: False, look)
    for numbers in ((1, 2), (3, 4)):
        batches.add(chunks(*numbers))
    taken: list[object] = []
    threads = [threading.Thread(target=lambda: taken.append(batches.take())) for _ in range(2)]
    threads[0].start()
    assert is_looking.wait(30)
    threads[1].start()
    threads[1].join(30)
    assert taken == [chunks(3, 4)]
    answers.set()
    threads[0].join(30)
    assert taken == [chunks(3, 4), chunks(1, 2)]


@in_process
def test_an_outage_of_the_database_during_a_look_is_waited_for(monkeypatch, sent):
    reload_keys, failures = StageTracker.reload_keys, iter(range(2))

    def fail_twice(stage) -> None:
        if next(failures, None) is not None:
            raise ProgressUnavailable("job", "reading")
        reload_keys(stage)

    monkeypatch.setattr(StageTracker, "reload_keys", fail_twice)
    job = queued(pdf(PAGES), "a.pdf")
    ingest(job.pk)
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("succeeded", 1)
    assert next(failures, None) is None


@in_process
def test_worker_that_gets_no_help_extracts_everything(sent):
    job = queued(pdf(PAGES), "a.pdf")
    ingest(job.pk)
    job.refresh_from_db()
    assert job.status == "succeeded"
    assert sum(len(args[3]) for args in sent) == job.total_chunks == done_by(job)
    assert_counts_are_what_is_stored(job)


@in_process
def test_tasks_that_come_late_or_twice_change_nothing(sent):
    job = queued(pdf(PAGES), "a.pdf")
    ingest(job.pk)
    before = Job.objects.values().get(pk=job.pk)
    evidence = dict(Entity.objects.values_list("key", "evidence"))
    for args in sent * 2:
        extract_part(*args)
    assert Job.objects.values().get(pk=job.pk) == before
    assert dict(Entity.objects.values_list("key", "evidence")) == evidence


@in_process
def test_chunks_that_another_worker_extracts_meanwhile_count_once(monkeypatch, sent):
    extract = KeyphraseExtractor.extract
    parts = iter(range(1000))

    def extract_and_be_helped(self, text, language=""):
        """Another worker runs the oldest task, twice, before each chunk of this one."""
        number = next(parts)
        if number < len(sent) and not getattr(self, "is_helping", False):
            monkeypatch.setattr(shared_extraction.components, "extractor", Helping)
            extract_part(*sent[number])
            extract_part(*sent[number])
        return extract(self, text, language)

    class Helping(KeyphraseExtractor):
        is_helping = True

    monkeypatch.setattr(KeyphraseExtractor, "extract", extract_and_be_helped)
    job = queued(pdf(PAGES), "a.pdf")
    ingest(job.pk)
    job.refresh_from_db()
    assert job.status == "succeeded"
    assert done_by(job) == job.total_chunks
    assert_counts_are_what_is_stored(job)
    for row in [*Entity.objects.all(), *Relation.objects.all()]:
        keys = [mention["chunk"] for mention in row.evidence]
        assert len(keys) == len(set(keys))


@in_process
def test_task_of_another_attempt_does_nothing(monkeypatch, sent):
    """Its epoch differs."""
    wrote = []
    extract = KeyphraseExtractor.extract

    def try_former_attempt(self, text, language=""):
        if sent and not wrote:
            wrote.append(Entity.objects.count())
            job_id, _epoch, document_id, parts = sent[0]
            extract_part(job_id, "former", document_id, parts)
            wrote.append(Entity.objects.count())
        return extract(self, text, language)

    monkeypatch.setattr(KeyphraseExtractor, "extract", try_former_attempt)
    ingest(queued(pdf(PAGES), "a.pdf").pk)
    assert wrote == [wrote[0]] * 2


@in_process
def test_chunk_that_fails_elsewhere_is_left_to_the_worker_that_ingests(monkeypatch, sent):
    class Failing(KeyphraseExtractor):
        def extract(self, text, language=""):
            raise ValueError("no")

    extract = KeyphraseExtractor.extract
    failures = []

    def after_a_failure(self, text, language=""):
        if sent and not failures:
            failures.append(extract_part(*sent[0]))
        return extract(self, text, language)

    # That of other workers: the components of this one have theirs already.
    monkeypatch.setattr(shared_extraction.components, "extractor", Failing)
    monkeypatch.setattr(KeyphraseExtractor, "extract", after_a_failure)
    job = queued(pdf(PAGES), "a.pdf")
    ingest(job.pk)
    job.refresh_from_db()
    assert failures == [None]
    assert (job.status, job.error_count, job.failed_items) == ("succeeded", 0, 0)
    assert done_by(job) == job.total_chunks


@in_process
def test_queue_that_is_down_leaves_all_chunks_to_this_worker(monkeypatch):
    def refuse(path):
        raise ConnectionError("no broker")

    monkeypatch.setattr(shared_extraction, "import_string", refuse)
    job = queued(pdf(PAGES), "a.pdf")
    ingest(job.pk)
    job.refresh_from_db()
    assert job.status == "succeeded"
    assert done_by(job) == job.total_chunks


@pytest.mark.once
def test_workers_of_celery_extract_one_document_together_although_one_is_killed(tmp_path):
    require_redis()
    with redis_server() as redis:
        env = {
            "TASK_QUEUE": "celery",
            "REDIS_URL": redis.url,
            "LOG_FORMAT": "json",
            "CHUNKS_PER_TASK": "2",
            "EXTRACTION_WORKERS": "1",
        }
        with live_project(tmp_path, postgresql().create_database(), **env) as project:
            workers = [started_worker(project) for _ in range(3)]
            deadline = time.monotonic() + 150
            until(lambda: sum("ready." in each for each in logged(project)) == 3, deadline)
            (tmp_path / "long.pdf").write_bytes(pdf(20))
            job_id = uuid.uuid4().hex
            project.ask(QUEUE, str(tmp_path / "long.pdf"), "long.pdf", job_id)
            until(lambda: "chunks_extracted" in logged(project), deadline)
            owner = project.ask(WRITER, job_id)
            helper = next(each for each in workers if owner not in children_of(each))
            os.killpg(helper.pid, signal.SIGKILL)
            until(
                lambda: project.ask(STATE, job_id)["status"] not in {"queued", "running"}, deadline
            )
            state = project.ask(STATE, job_id)
            assert (state["status"], state["attempts"]) == ("succeeded", ["succeeded"])
            assert state["stored"] == state["counts"]


WRITER = """
    import json, sys
    from ingestion_progress.models import Job
    print(json.dumps(int(Job.objects.get(pk=sys.argv[1]).writer.rpartition("/")[2])))
"""


def started_worker(project: LiveProject) -> psutil.Popen:
    command = (sys.executable, "manage.py", "ingestion_worker", "--concurrency", "1")
    return project.spawn(*command)


def logged(project: LiveProject) -> list[str]:
    return [record["event"] for record in project.records()] if project.log.exists() else []


def children_of(worker: psutil.Popen) -> set[int]:
    return {child.pid for child in psutil.Process(worker.pid).children(recursive=True)}


def until(condition: Callable[[], object], deadline: float) -> None:
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
