"""How the tasks of jobs get into their queues, and what queues in the database keep of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.apps import apps
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from ingestion_progress.models import Job
from ingestion_progress.pipeline.tasks import ingest_document
from ingestion_progress.recovery.tasks import (
    delete_task_results,
    end_lost_tasks,
    job_id_of,
    queue_task,
)
from ingestion_progress.tracker.plan import task_path

HERE = __name__
queued: list[tuple[str, int | None]] = []


class DjangoTask:
    """Notes the priority with which it is queued."""

    def __init__(self, *, supports_priority: bool, priority: int | None = None) -> None:
        self._supports_priority = supports_priority
        self._priority = priority

    def get_backend(self) -> SimpleNamespace:
        return SimpleNamespace(supports_priority=self._supports_priority)

    def using(self, *, priority: int) -> DjangoTask:
        return DjangoTask(supports_priority=self._supports_priority, priority=priority)

    def enqueue(self, job_id: str) -> None:
        queued.append((job_id, self._priority))


class CeleryTask:
    def delay(self, job_id: str) -> None:
        queued.append((job_id, None))


prioritised = DjangoTask(supports_priority=True)
plain = DjangoTask(supports_priority=False)
celery_task = CeleryTask()


@pytest.fixture(autouse=True)
def nothing_is_queued():
    queued.clear()


@pytest.mark.parametrize(
    ("task", "priority", "queued_with"),
    [
        ("prioritised", 7, 7),
        ("prioritised", 0, None),
        ("plain", 7, None),  # `using` would raise there
        ("celery_task", 7, None),
    ],
)
def test_a_task_gets_the_priority_of_its_job_if_its_queue_has_priorities(
    task, priority, queued_with
):
    queue_task(Job(id="job", task=f"{HERE}.{task}", priority=priority))
    assert queued == [("job", queued_with)]


@pytest.mark.parametrize(
    ("task", "error"), [(f"{HERE}.HERE", TypeError), (f"{HERE}.nothing", ImportError)]
)
def test_what_is_no_task_is_refused(task, error):
    with pytest.raises(error):
        queue_task(Job(id="job", task=task))


@pytest.mark.parametrize(
    "arguments",
    [
        {"args": ["job"], "kwargs": {}},
        {"args": ["job"], "kwargs": {"other": "b"}},
        {"args": [], "kwargs": {"job_id": "job"}},
    ],
)
def test_the_job_of_a_task_is_its_first_argument(arguments):
    assert job_id_of(SimpleNamespace(args_kwargs=arguments)) == "job"
    assert job_id_of(SimpleNamespace(args_kwargs={"args": [], "kwargs": {}})) == ""


@pytest.mark.django_db
@pytest.mark.database
class TestDatabaseQueue:
    @pytest.fixture(autouse=True)
    def _results(self) -> None:
        path = task_path(ingest_document)
        for name, status in (
            ("job", "RUNNING"),
            ("job-2", "RUNNING"),
            ("job", "SUCCESSFUL"),
            ("job-2", "SUCCESSFUL"),
        ):
            DBTaskResult.objects.create(
                task_path=path,
                args_kwargs={"args": [name], "kwargs": {}},
                status=status,
                backend_name="default",
                run_after=timezone.now(),
            )

    def test_running_tasks_of_a_lost_job_and_of_no_other_fail(self):
        end_lost_tasks(Job(id="job", task="another.task"))
        assert not DBTaskResult.objects.filter(status="FAILED").exists()
        end_lost_tasks(Job(id="job", task=task_path(ingest_document)))
        failed = DBTaskResult.objects.get(status="FAILED")
        assert job_id_of(failed) == "job"
        assert "AttemptLost" in failed.exception_class_path
        assert DBTaskResult.objects.running().count() == 1

    def test_ended_tasks_of_deleted_jobs_are_deleted(self):
        delete_task_results(["job", "unknown"])
        kept = [(job_id_of(each), each.status) for each in DBTaskResult.objects.all()]
        assert sorted(kept) == [
            ("job", "RUNNING"),
            ("job-2", "RUNNING"),
            ("job-2", "SUCCESSFUL"),
        ]


def test_without_a_queue_in_the_database_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(apps, "is_installed", lambda name: False)
    end_lost_tasks(Job(id="job", task=task_path(ingest_document)))  # no database is allowed here
    delete_task_results(["job"])
