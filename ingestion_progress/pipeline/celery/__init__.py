"""Runs Django Tasks in Celery workers. No module here is imported unless `TASKS` names the backend.

`backend` sends a task to the broker. `tasks` runs it in a process of a worker's pool, `requests`
observes it in the worker's main process, and `worker` reacts to the worker's own events.
"""

HIGHEST_PRIORITY = 9
