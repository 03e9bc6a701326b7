"""How the scheduler of the system treats a process."""

import os
from contextlib import suppress


def schedule_as_batch() -> None:
    """From now on this thread, and the threads and processes that it starts, interrupt no other one
    when they wake up. Linux only.

    A worker is interrupted less often while it holds the lock of a SQLite file, and interrupts the
    web process beside it less often.
    """
    if not hasattr(os, "SCHED_BATCH") or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    with suppress(OSError):  # a container may forbid it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
