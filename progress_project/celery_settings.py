"""The settings of Celery, which reads those of Django that begin with `CELERY_`.

Every message is acknowledged at the end of its task. A job that runs or has ended ignores a second
delivery, so a message may be delivered again early rather than late.
"""

from typing import Any

from ingestion_progress.pipeline.celery import HIGHEST_PRIORITY

TASK_QUEUES = {
    "database": "django_tasks_db.DatabaseBackend",
    "celery": "ingestion_progress.pipeline.celery.backend.CeleryBackend",
}
# Redis delivers a message again if it is not acknowledged for this long, as after `kill -9`.
REDELIVER_AFTER_SECONDS = 120
# After the time limit of a task that hangs in C code, its process is killed.
KILL_AFTER_SECONDS = 30


def celery_settings(broker_url: str, *, redis_url: str, time_limit: int) -> dict[str, Any]:
    """`time_limit`: seconds that a task may take; 0 for no limit."""
    is_redis = broker_url.startswith(("redis", "sentinel"))
    limits = {
        "TASK_SOFT_TIME_LIMIT": time_limit,
        "TASK_TIME_LIMIT": time_limit + KILL_AFTER_SECONDS,
    }
    found = {
        "BROKER_URL": broker_url,
        "BROKER_CONNECTION_TIMEOUT": 3,
        "BROKER_CONNECTION_RETRY_ON_STARTUP": True,
        "BROKER_CONNECTION_MAX_RETRIES": None,
        "BROKER_TRANSPORT_OPTIONS": _redis_options() if is_redis else {},
        "RESULT_BACKEND": (broker_url if is_redis else redis_url) or None,
        "TASK_DEFAULT_QUEUE": "ingestion",
        "TASK_QUEUE_MAX_PRIORITY": None if is_redis else HIGHEST_PRIORITY,
        # A message that waits in a busy worker would be kept from an idle one.
        "WORKER_PREFETCH_MULTIPLIER": 1,
        "WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS": False,
        "WORKER_REDIRECT_STDOUTS": False,
        **(limits if time_limit else {}),
    }
    return {f"CELERY_{name}": value for name, value in found.items()}


def _redis_options() -> dict[str, Any]:
    return {
        "visibility_timeout": REDELIVER_AFTER_SECONDS,
        "queue_order_strategy": "priority",
        "priority_steps": list(range(HIGHEST_PRIORITY + 1)),
        "socket_connect_timeout": 3,
        "socket_timeout": 10,
        "socket_keepalive": True,
        "health_check_interval": 10,
    }
