"""Django signals: a job starts, an attempt ends, a job ends.

All are sent after the COMMIT, by a thread of the process that wrote the change: the task's process,
the web process in which somebody cancelled a waiting job, or the process that rescued a lost one.
`sender` is the model `Job`.
"""

from django.dispatch import Signal

job_started = Signal()
"""`job` runs: its first attempt or a later one (`job.attempt`)."""
attempt_ended = Signal()
"""An attempt of `job` ended: `attempt` is its number, `status` an AttemptStatus, `error` a text.
The job may continue with another attempt.
"""
job_ended = Signal()
"""`job` has ended, as `job.status` and `job.result` say. A job that is retried ends again."""
