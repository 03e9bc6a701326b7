"""The manager: the tracker under the names of the user's specification."""

from __future__ import annotations

import json
import uuid

import pytest
from django.db import connections

from ingestion_progress import attach
from ingestion_progress.exceptions import (
    InvalidCount,
    InvalidTransition,
    JobNotFound,
    ProgressUnavailable,
    UnknownStage,
)
from ingestion_progress.models import Job, JobEvent, Stage
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.progress_manager import (
    PipelineProgressManager,
    StageStatus,
    get_progress_manager,
)
from ingestion_progress.tracker import writer
from ingestion_progress.tracker.writer import background_writer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def manager():
    yield PipelineProgressManager()
    background_writer.stop()


def disconnect_the_database() -> None:
    """In the writer's thread, until its end."""
    connection = connections["default"]
    connection.close()
    nowhere = {"NAME": "/no/such/folder/database", "HOST": "127.0.0.1", "PORT": "9"}
    connection.settings_dict = connection.settings_dict | nowhere


async def test_the_specifications_script_runs_as_written(manager):
    manager.start_document(
        document_id="test-job-123", document_name="test.pdf", total_chunks=32, total_images=5
    )
    await manager.update_stage(
        document_id="test-job-123",
        stage_name="parsing",
        processed=1,
        total=1,
        status=StageStatus.COMPLETED,
    )
    await manager.update_stage(
        document_id="test-job-123",
        stage_name="extraction",
        processed=15,
        total=32,
        in_flight=4,
        status=StageStatus.IN_PROGRESS,
    )
    event = manager.get_sse_event("test-job-123")
    assert event["type"] == "pipeline_progress"
    data = json.loads(json.dumps(event["data"]))
    assert data["document_id"] == "test-job-123"
    assert (data["total_chunks"], data["total_images"]) == (32, 5)
    assert list(data["stages"]) == ["parsing", "vlm", "chunking", "embedding", "extraction"]
    assert data["stages"]["parsing"]["is_complete"]
    assert data["stages"]["extraction"] | {"duration_ms": 0} == {
        "name": "extraction",
        "status": "in_progress",
        "processed": 15,
        "total": 32,
        "in_flight": 4,
        "progress_percent": 46.8,
        "duration_ms": 0,
        "is_complete": False,
    }


def test_there_is_one_manager_in_a_process():
    assert get_progress_manager() is get_progress_manager()


async def test_completing_the_last_stage_completes_the_job(manager):
    manager.start_document("job", "a.pdf", stages=["one", "two", "three"])
    await manager.update_stage("job", "two", status="skipped")
    await manager.update_stage("job", "one", status=StageStatus.COMPLETED)
    assert (await Job.objects.aget()).job_status is JobStatus.RUNNING
    await manager.update_stage("job", "three", status=StageStatus.COMPLETED)
    assert (await Job.objects.aget()).job_status is JobStatus.SUCCEEDED
    assert manager.get_progress("job").overall_progress_percent == 100


def test_the_sync_twins_do_the_same(manager):
    manager.start_document("job", "a.pdf", stages=["one"])
    manager.update_workers_sync(
        "job",
        [{"id": 1, "status": "processing", "current_chunk": "c-1", "progress_percent": 30}],
        max_workers=4,
        queue_depth=2,
    )
    manager.update_metrics_sync("job", entities_total=4, tables=1)
    pool = manager.get_progress("job").worker_pool
    assert (pool.active, pool.max, pool.queue_depth) == (1, 4, 2)
    assert pool.workers[0].current_chunk == "c-1"
    assert manager.get_progress("job").metrics.entities_total == 4
    manager.update_stage_sync("job", "one", 5, 5, status="completed")
    assert Job.objects.get().job_status is JobStatus.SUCCEEDED


async def test_workers_that_are_idle_again_hold_no_chunk(manager):
    manager.start_document("job", "a.pdf", workers=1)
    await manager.update_workers("job", [{"id": 1, "status": "processing", "current_chunk": "c"}])
    await manager.update_workers("job", [{"id": 1, "status": "idle"}])
    assert manager.get_progress("job").worker_pool.workers[0].current_chunk is None


async def test_a_document_may_be_ended_early_with_or_without_await(manager):
    for name in ("one", "two"):
        manager.start_document(name, "a.pdf")
    await manager.complete_document("one")
    manager.complete_document("one")  # again: nothing to do
    manager.fail_document("two", "No more disk.")
    assert (await Job.objects.aget(pk="one")).job_status is JobStatus.SUCCEEDED
    assert (await Job.objects.aget(pk="two")).error == "No more disk."
    with pytest.raises(InvalidTransition, match="is failed and cannot become succeeded"):
        manager.complete_document("two")


async def test_a_late_update_changes_nothing(manager):
    manager.start_document("job", "a.pdf", stages=["one"])
    manager.complete_document("job")
    before = manager.get_progress("job")
    await manager.update_metrics("job", entities_total=3)
    await manager.update_stage("job", "one", status=StageStatus.ERROR)
    assert manager.get_progress("job") == before
    assert (await Job.objects.aget()).job_status is JobStatus.SUCCEEDED
    assert (await Stage.objects.aget()).stage_status is not StageStatus.ERROR


async def test_a_stage_with_an_error_does_not_end_the_job(manager):
    manager.start_document("job", "a.pdf", stages=["one", "two"])
    await manager.update_stage("job", "one", status=StageStatus.ERROR)
    assert manager.get_progress("job").stages["one"].status == "error"
    assert (await Job.objects.aget()).job_status is JobStatus.RUNNING


async def test_a_stage_with_a_total_stays_pending_until_it_counts(manager):
    manager.start_document("job", "a.pdf", stages=["one"])
    await manager.update_stage("job", "one", 0, 32, status=StageStatus.PENDING)
    waiting = manager.get_progress("job").stages["one"]
    assert (waiting.status, waiting.total, waiting.duration_ms) == ("pending", 32, 0)
    await manager.update_stage("job", "one", processed=1)
    assert manager.get_progress("job").stages["one"].status == "in_progress"


async def test_starting_again_begins_a_new_attempt(manager):
    manager.start_document("job", "a.pdf", stages=["one"])
    await manager.update_stage("job", "one", processed=5, total=9)
    first = manager.get_progress("job")
    again = manager.start_document("job", "a.pdf")
    assert first.stages["one"].processed == 5
    assert again.stages["one"].processed == 0
    assert (await Job.objects.aget()).attempt == 2


def test_starting_again_leaves_the_former_attempt(manager):
    manager.start_document("job", "a.pdf", stages=["one"])
    before = manager._trackers.kept("job").buffer
    manager.start_document("job", "a.pdf")
    assert before not in background_writer._live
    assert manager._trackers.kept("job").buffer in background_writer._live


def test_a_document_that_was_started_again_elsewhere_is_joined_again(manager):
    manager.start_document("job", "a.pdf", stages=["one"])
    PipelineProgressManager().start_document("job", "a.pdf", stages=["one", "two"])
    manager.update_metrics_sync("job", entities_total=1)
    manager.get_progress("job")  # with which it is written, and refused
    manager.update_metrics_sync("job", relations_total=2)
    metrics = manager.get_progress("job").metrics
    assert (metrics.entities_total, metrics.relations_total) == (0, 2)


async def test_an_end_goes_to_the_attempt_that_was_started_elsewhere(manager):
    elsewhere = PipelineProgressManager()
    manager.start_document("job", "a.pdf", stages=["one", "two"])
    elsewhere.start_document("job", "a.pdf")
    await manager.update_stage("job", "one", 1, 1, status=StageStatus.COMPLETED)
    assert manager.get_progress("job").stages["one"].is_complete
    elsewhere.start_document("job", "a.pdf")
    manager.update_stage_sync("job", "one", 1, 1, status=StageStatus.COMPLETED)
    assert manager.get_progress("job").stages["one"].is_complete
    elsewhere.start_document("job", "a.pdf")
    manager.complete_document("job")
    assert (await Job.objects.aget()).job_status is JobStatus.SUCCEEDED


def test_stages_are_those_that_were_declared_elsewhere(manager):
    manager.start_document("job", "a.pdf", stages=["one"])
    PipelineProgressManager().start_document("job", "a.pdf", stages=["two"])
    manager.update_stage_sync("job", "two", processed=3, total=4)
    assert manager.get_progress("job").stages["two"].processed == 3
    with pytest.raises(UnknownStage, match="This job declares: two"):
        manager.update_stage_sync("job", "one")


def test_a_document_that_was_removed_elsewhere_is_not_found(manager):
    manager.start_document("job", "a.pdf", stages=["one"])
    PipelineProgressManager().remove_document("job")
    with pytest.raises(JobNotFound):
        manager.complete_document("job")


def test_unknown_names_are_errors_that_list_the_known(manager):
    manager.start_document("job", "a.pdf", stages=["one"])
    with pytest.raises(JobNotFound, match=r"Job not found: jbo\. Running now: job\."):
        manager.update_stage_sync("jbo", "one")
    with pytest.raises(UnknownStage, match="This job declares: one"):
        manager.update_stage_sync("job", "on")
    with pytest.raises(InvalidCount, match="above its total of 32"):
        manager.update_stage_sync("job", "one", processed=33, total=32)
    with pytest.raises(InvalidCount):
        manager.update_stage_sync("job", "one", processed=-1)


@pytest.mark.parametrize(
    ("ask", "action"),
    [
        (PipelineProgressManager.get_progress, "progress"),
        (PipelineProgressManager.get_sse_event, "progress"),
        (PipelineProgressManager.remove_document, "removal"),
        (PipelineProgressManager.complete_document, "end"),
    ],
)
def test_calls_while_the_database_is_down_raise_a_clear_error(
    manager, settings, monkeypatch, ask, action
):
    monkeypatch.setattr(writer, "EXIT_SECONDS", 0.0)
    manager.start_document("job", "a.pdf")
    settings.INGESTION_PROGRESS_WRITE_TIMEOUT_SECONDS = 0.05
    background_writer.call(disconnect_the_database)
    with pytest.raises(ProgressUnavailable, match=f"did not confirm the {action} of job job in"):
        ask(manager, "job")
    background_writer.stop()


@pytest.mark.parametrize("status", sorted(StageStatus))
async def test_stage_gets_the_given_status(manager, status):
    manager.start_document("job", "a.pdf", stages=["one", "two"])
    await manager.update_stage("job", "one", 2, 3, 1, status=status)
    manager.get_progress("job")  # writes it
    stage = await Stage.objects.aget(name="one")
    is_in_flight = status in {StageStatus.PENDING, StageStatus.IN_PROGRESS}
    expected = StageStatus.IN_PROGRESS if status is StageStatus.PENDING else status  # it counts
    assert (stage.stage_status, stage.processed, stage.total) == (expected, 2, 3)
    assert stage.in_flight == int(is_in_flight)
    errors = [event.message async for event in JobEvent.objects.filter(level="error", stage="one")]
    assert errors == (["The stage reported an error."] if status is StageStatus.ERROR else [])
    assert (await Job.objects.aget()).job_status is JobStatus.RUNNING


@pytest.mark.parametrize("is_async", [True, False])
async def test_job_ends_with_a_completed_stage_and_not_with_a_count(manager, is_async):
    async def update(*args: object, **names: object) -> None:
        if is_async:
            await manager.update_stage("job", *args, **names)
        else:
            manager.update_stage_sync("job", *args, **names)

    manager.start_document("job", "a.pdf", stages=["one", "two"])
    with attach("job") as other:
        other.stage("one").complete()
        other.stage("two").complete()
    await update("one", processed=3)
    await update("two", status=StageStatus.IN_PROGRESS)
    assert (await Job.objects.aget()).job_status is JobStatus.RUNNING
    await update("two", status=StageStatus.SKIPPED)
    assert (await Job.objects.aget()).job_status is JobStatus.SUCCEEDED


async def test_workers_and_metrics_are_those_that_were_given(manager):
    manager.start_document("job", "a.pdf", workers=1)
    worker = {"id": 1, "status": "processing", "current_chunk": "c", "progress_percent": 30}
    await manager.update_workers("job", [worker], max_workers=4, queue_depth=2)
    await manager.update_metrics("job", relations_total=5, tables=6)
    progress = manager.get_progress("job")
    pool = progress.worker_pool
    assert (pool.active, pool.max, pool.queue_depth) == (1, 4, 2)
    assert pool.workers[0].model_dump() == worker
    assert progress.metrics.relations_total == 5
    assert (await Job.objects.aget()).counters == {"tables": 6}
    await manager.update_workers("job", max_workers=0, queue_depth=0)
    pool = manager.get_progress("job").worker_pool
    assert pool.queue_depth == 0
    assert (await Job.objects.aget()).pool_size == 0


def test_start_declares_all_that_was_given(manager):
    progress = manager.start_document("job", "a.pdf", 3, 4, stages={"x": 2}, workers=5)
    assert (progress.document_id, progress.document_name) == ("job", "a.pdf")
    assert (progress.total_chunks, progress.total_images) == (3, 4)
    assert (list(progress.stages), progress.worker_pool.max) == (["x"], 5)


def test_look_at_an_unchanged_document_writes_nothing(manager):
    manager.start_document("job", "a.pdf")
    before = Job.objects.get().revision
    assert manager.get_progress("job")
    assert manager.get_sse_event("job")
    assert Job.objects.get().revision == before


def test_document_fails_without_a_reason_too(manager):
    manager.start_document("job", "a.pdf", stages=["one"])
    manager.fail_document("job")
    job = Job.objects.get()
    assert (job.status, job.error) == ("failed", "")
    with pytest.raises(InvalidTransition):
        manager.fail_document("job", "again")


def test_unknown_document_is_found_by_none_and_its_error_names_five_that_run(manager):
    for n in range(7):
        manager.start_document(f"job-{n}", "a.pdf")
    manager.complete_document("job-6")
    assert manager.get_progress("unknown") is None
    with pytest.raises(JobNotFound) as caught:
        manager.complete_document("unknown")
    named = str(caught.value).partition("Running now: ")[2].rstrip(".").split(", ")
    assert len(named) == 5
    assert set(named) < {f"job-{n}" for n in range(6)}


def test_removal_ends_the_heartbeats_of_the_document(manager):
    manager.start_document("job", "a.pdf")
    buffer = manager._trackers.kept("job").buffer
    assert buffer in background_writer._live
    manager.remove_document("job")
    assert buffer not in background_writer._live
    assert manager._trackers.kept("job") is None


def test_what_is_removed_is_gone(manager):
    manager.start_document("job", "a.pdf")
    manager.remove_document("job")
    assert manager.get_sse_event("job") is None
    assert not Job.objects.exists()
    with pytest.raises(JobNotFound):
        manager.remove_document("job")


def test_a_manager_that_drives_many_documents_forgets_the_ended_ones(manager):
    for n in range(5):
        manager.start_document(f"job-{n}", "a.pdf", stages=["one"])
        manager.update_stage_sync(f"job-{n}", "one", status="completed")
    assert len(manager._trackers._trackers) <= 2


def test_a_manager_that_joins_many_documents_forgets_the_ended_ones(manager):
    for n in range(5):
        PipelineProgressManager().start_document(f"job-{n}", "a.pdf", stages=["one"])
        manager.update_stage_sync(f"job-{n}", "one", status="completed")
    assert len(manager._trackers._trackers) <= 2


def test_another_process_drives_the_same_document(project):
    job_id = uuid.uuid4().hex
    source = """
        import asyncio, json, sys
        from ingestion_progress.progress_manager import get_progress_manager
        manager = get_progress_manager()
        job_id, act = sys.argv[1:]
        if act == "start":
            manager.start_document(job_id, "a.pdf", stages=["one"])
        else:
            asyncio.run(manager.update_stage(job_id, "one", 3, 4))
            asyncio.run(manager.update_stage(job_id, "one", 4, status="completed"))
        print(json.dumps(manager.get_sse_event(job_id)))
    """
    project.output_of(source, job_id, "start")
    event = project.output_of(source, job_id, "finish")
    assert event["data"]["overall_progress_percent"] == 100


def test_another_process_starts_the_same_document_again(project, tmp_path):
    job_id = uuid.uuid4().hex
    driver = project.python(
        """
        import pathlib, sys, time
        from ingestion_progress.progress_manager import get_progress_manager
        manager = get_progress_manager()
        job_id, stop = sys.argv[1], pathlib.Path(sys.argv[2])
        manager.start_document(job_id, "a.pdf", stages=["one"])
        manager.update_stage_sync(job_id, "one", 1, 9)
        while not stop.exists():
            time.sleep(0.01)
        manager.update_stage_sync(job_id, "two", 3, 4)
        manager.update_stage_sync(job_id, "two", 4, status="completed")
        """,
        job_id,
        str(tmp_path / "stop"),
    )
    project.wait_for_job(job_id)
    project.output_of(
        """
        import sys
        from ingestion_progress.progress_manager import get_progress_manager
        get_progress_manager().start_document(sys.argv[1], "a.pdf", stages=["two"])
        print("null")
        """,
        job_id,
    )
    (tmp_path / "stop").touch()
    assert driver.wait(30) == 0, project.log.read_text()
    event = project.ask(
        """
        import json, sys
        from ingestion_progress.progress_manager import get_progress_manager
        print(json.dumps(get_progress_manager().get_sse_event(sys.argv[1])))
        """,
        job_id,
    )
    assert event["data"]["overall_progress_percent"] == 100
    assert event["data"]["stages"]["two"]["processed"] == 4
