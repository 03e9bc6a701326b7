"""The adapter between Django Tasks and Celery, without a broker."""

from __future__ import annotations

import subprocess
import sys
import uuid
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from ingestion_progress.pipeline.celery.backend import RUN_TASK, CeleryBackend, broker_priority
from ingestion_progress.pipeline.checks import check_hosts, check_task_queue
from ingestion_progress.pipeline.tasks import ingest_document
from tests.support.live import ROOT
from tests.support.servers import free_port

BACKEND = "ingestion_progress.pipeline.celery.backend.CeleryBackend"


@pytest.fixture
def app(settings):
    """A Celery app whose broker does not run."""
    celery = pytest.importorskip("celery")
    app = celery.Celery("test", broker=f"redis://:secret@127.0.0.1:{free_port()}/0")
    settings.TASKS = {"default": {"BACKEND": BACKEND, "OPTIONS": {"app": f"{__name__}.app_"}}}
    globals()["app_"] = app
    return app


@pytest.mark.parametrize(
    ("priority", "of_redis", "of_rabbitmq"), [(100, 0, 9), (0, 5, 4), (-100, 9, 0)]
)
def test_priorities_are_those_of_the_broker(priority, of_redis, of_rabbitmq):
    assert broker_priority(priority, "redis://localhost/0") == of_redis
    assert broker_priority(priority, "amqp://localhost//") == of_rabbitmq


def test_web_process_does_not_import_celery():
    source = (
        "import sys, django; django.setup(); import progress_project.urls\n"
        "import ingestion_progress.pipeline.tasks, ingestion_progress.pipeline.checks\n"
        "assert 'celery' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", source], cwd=ROOT, check=True)


def test_checks_name_the_extra_if_celery_is_not_installed(app, monkeypatch):
    monkeypatch.setitem(sys.modules, "celery", None)
    monkeypatch.setattr("ingestion_progress.pipeline.celery.backend.find_spec", lambda name: None)
    (error,) = check_task_queue()
    assert error.id == "ingestion_pipeline.E001"
    assert "pip install 'django-ingestion-progress[celery]'" in error.hint


def test_checks_name_an_app_that_cannot_be_imported(app, settings):
    options = {"app": "nowhere.celery.app"}
    settings.TASKS = {"default": {"BACKEND": BACKEND, "OPTIONS": options}}
    (error,) = check_task_queue()
    assert error.id == "ingestion_pipeline.E002"
    assert "nowhere.celery.app cannot be imported" in error.msg


def test_checks_ask_for_a_broker(app):
    app.conf.broker_url = None
    (error,) = check_task_queue()
    assert error.id == "ingestion_pipeline.E003"


def test_deploy_checks_connect_to_the_broker_and_hide_its_password(app):
    broker, qdrant = check_hosts()
    assert (broker.id, qdrant.id) == ("ingestion_pipeline.W001", "ingestion_pipeline.W002")
    assert "does not answer" in broker.msg
    assert "secret" not in broker.msg


def test_queue_in_the_database_passes_the_checks():
    assert not list(check_task_queue())
    assert not list(check_hosts())


@pytest.fixture
def backend(app) -> CeleryBackend:
    """Its messages stay in memory."""
    app.conf.update(
        broker_url="memory://",
        task_default_queue=f"deferred-{uuid.uuid4()}",
        broker_transport_options={"visibility_timeout": 120},
    )
    pytest.importorskip("ingestion_progress.pipeline.celery.tasks")
    return CeleryBackend("default", {"OPTIONS": {"app": f"{__name__}.app_"}})


def sent_by(app):
    """The next message, and the seconds after which it is delivered."""
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue(app.conf.task_default_queue).get(block=False)
        message.ack()
    eta = datetime.fromisoformat(message.headers["eta"])
    return message, (eta - timezone.now()).total_seconds()


def test_a_deferred_task_is_held_for_less_than_the_time_after_which_it_is_delivered_again(
    app, backend
):
    soon, later = (timezone.now() + timedelta(seconds=seconds) for seconds in (20, 3600))
    backend.enqueue(ingest_document.using(run_after=soon, priority=100), ["job-1"], {})
    assert 10 < sent_by(app)[1] <= 20
    backend.enqueue(ingest_document.using(run_after=later, priority=100), ["job-1"], {})
    message, seconds = sent_by(app)
    assert 50 < seconds <= 60
    assert message.payload[0][3] == later.timestamp()
    app.conf.broker_transport_options = {}
    backend.enqueue(ingest_document.using(run_after=later), ["job-1"], {})
    assert 800 < sent_by(app)[1] <= 900


def test_a_task_that_is_delivered_before_its_time_is_sent_again_and_does_not_run(
    app, backend, monkeypatch
):
    ran = []
    monkeypatch.setattr(type(ingest_document), "call", lambda self, *args: ran.append(args))
    later = timezone.now() + timedelta(hours=1)
    backend.enqueue(ingest_document.using(run_after=later, priority=100), ["job-1"], {})
    message, _ = sent_by(app)
    task = app.tasks[RUN_TASK]
    info = {"routing_key": app.conf.task_default_queue, "priority": 0}
    for number in (0, 5, 50):
        task.push_request(
            id="a", args=message.payload[0], kwargs={}, delivery_info=info, retries=number,
            called_directly=False,
        )  # fmt: skip
        try:
            task.run(*message.payload[0])
        finally:
            task.pop_request()
        again, seconds = sent_by(app)
        assert again.payload[0] == message.payload[0]
        assert again.properties["priority"] == 0
        assert 50 < seconds <= 60
    assert ran == []
    task.run(*message.payload[0][:3], timezone.now().timestamp())
    assert ran == [("job-1",)]


def test_requests_that_change_meanwhile_are_looked_at_again(app, monkeypatch):
    worker = pytest.importorskip("ingestion_progress.pipeline.celery.worker")

    def changed_meanwhile():
        yield "a"
        raise RuntimeError("Set changed size during iteration")

    monkeypatch.setattr(worker.state, "active_requests", changed_meanwhile())
    assert worker._active_requests() == ()
    monkeypatch.setattr(worker.state, "active_requests", {"a"})
    assert worker._active_requests() == ("a",)


def test_message_names_the_task_and_has_its_priority(app, settings):
    app.conf.broker_url = "memory://"
    app.conf.task_default_queue = "documents"
    backend = CeleryBackend("default", {"OPTIONS": {"app": f"{__name__}.app_"}})
    result = backend.enqueue(ingest_document.using(priority=100), ["job-1"], {})
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("documents").get(block=False)
    path = "ingestion_progress.pipeline.tasks.ingest_document"
    assert message.payload[0] == [path, ["job-1"], {}]
    assert message.properties["priority"] == 0
    assert message.headers["id"] == result.id
    assert message.headers["task"] == "ingestion_progress.run_task"
