"""Runs `manage.py follow` in the test's process, and returns what a terminal shows."""

from __future__ import annotations

import os
import re
from datetime import timedelta

from django.core.management import call_command
from django.utils import timezone

from ingestion_progress.models import Job
from ingestion_progress.tracker import queue_job


def exit_code(*args: str) -> int:
    try:
        call_command("follow", *args)
    except SystemExit as leaving:
        return leaving.code
    return 0


def running(job_id: str = "job-1", **fields) -> None:
    queue_job("report.pdf", job_id=job_id, stages=["parsing"])
    long_enough = timezone.now() - timedelta(hours=1)
    times = {"started_at": long_enough, "heartbeat_at": timezone.now()}
    Job.objects.filter(pk=job_id).update(status="running", **times | fields)


def read_until(descriptor: int, wanted: bytes = rb"(?!)") -> bytes:
    """What a terminal shows, up to `wanted` or the end of its output."""
    screen = b""
    while not re.search(wanted, screen, re.DOTALL):
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # Linux's end of file
            piece = b""
        if not piece:
            os.close(descriptor)
            break
        screen += piece
    return screen
