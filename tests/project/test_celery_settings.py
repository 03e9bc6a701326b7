"""What TASK_QUEUE=celery sets, by broker."""

from __future__ import annotations

import pytest
from celery import Celery

from progress_project.celery_settings import celery_settings


def app(broker_url: str, *, redis_url: str = "", time_limit: int = 0) -> Celery:
    settings = celery_settings(broker_url, redis_url=redis_url, time_limit=time_limit)
    app = Celery("test", set_as_current=False)
    app.config_from_object(settings, namespace="CELERY")
    return app


@pytest.mark.parametrize("broker_url", ["redis://localhost/0", "amqp://localhost//"])
def test_message_that_is_not_acknowledged_is_delivered_again(broker_url):
    conf = app(broker_url).conf
    assert conf.broker_url == broker_url
    assert conf.worker_prefetch_multiplier == 1
    assert not conf.worker_cancel_long_running_tasks_on_connection_loss


def test_redis_has_a_time_out_for_messages_and_ten_priorities():
    options = app("redis://localhost/0").conf.broker_transport_options
    assert options["visibility_timeout"] == 120
    assert options["priority_steps"] == list(range(10))


def test_rabbitmq_has_ten_priorities_and_no_options_of_redis():
    conf = app("amqp://localhost//").conf
    assert conf.task_queue_max_priority == 9
    assert conf.broker_transport_options == {}
    assert conf.result_backend is None


def test_process_is_killed_some_time_after_the_limit():
    conf = app("redis://localhost/0", time_limit=60).conf
    assert (conf.task_soft_time_limit, conf.task_time_limit) == (60, 90)
    assert app("redis://localhost/0").conf.task_time_limit is None
