"""The adapter between Django Tasks and Celery, without a broker."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ingestion_progress.pipeline.celery.backend import CeleryBackend, broker_priority
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
