"""How the scheduler of the system treats a process."""

import os
import subprocess
import sys

import pytest

SOURCE = """
import os, subprocess, sys
from ingestion_progress.concurrency.scheduling import schedule_as_batch
{before}
schedule_as_batch()
print(os.sched_getscheduler(0))
subprocess.run([sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"], check=True)
"""
LOWEST = "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))"

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="the scheduler of Linux")


def policies(before: str) -> set[int]:
    source = SOURCE.format(before=before)
    printed = subprocess.check_output([sys.executable, "-u", "-c", source], text=True)
    return set(map(int, printed.split()))


def test_a_process_and_those_that_it_starts_interrupt_no_other_one():
    assert policies("") == {os.SCHED_BATCH}


def test_a_policy_that_somebody_has_chosen_stays():
    assert policies(LOWEST) == {os.SCHED_IDLE}
