from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ingestion_progress.conf import conf
from ingestion_progress.exceptions import JobNotFound
from ingestion_progress.management.bars import Bars, concern, console_for
from ingestion_progress.snapshots import Snapshot, load_snapshot
from ingestion_progress.statuses import JobStatus, Liveness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser

UNSUCCESSFUL, UNKNOWN_JOB, INTERRUPTED = 1, 2, 130


class Command(BaseCommand):
    help = (
        "Watches a job until it ends. Leaving does not touch the job. Exit code: 0 succeeded, "
        "1 failed, cancelled or lost, 2 unknown job."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("job_id", metavar="JOB_ID")
        parser.add_argument("--once", action="store_true", help="Show it as it is now, and leave.")
        parser.add_argument(
            "--json", action="store_true", help="One JSON object per change, as the stream has it."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        snapshots = changes(options["job_id"])
        show = self._print_json if options["json"] else self._draw
        try:
            last = show(snapshots, is_once=options["once"])
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # Whoever read the output has gone; so must Python's own flush at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(UNSUCCESSFUL)
        except JobNotFound as error:
            raise CommandError(str(error), returncode=UNKNOWN_JOB) from error
        if has_no_future(last):
            sys.exit(UNSUCCESSFUL)

    def _draw(self, snapshots: Iterator[Snapshot], *, is_once: bool) -> Snapshot:
        with Bars(console_for(self.stdout)) as bars:
            for snapshot in snapshots:
                bars.show(snapshot)
                if is_once:
                    break
        return snapshot

    def _print_json(self, snapshots: Iterator[Snapshot], *, is_once: bool) -> Snapshot:
        resume_id = note = ""
        for snapshot in snapshots:
            now = timezone.now()
            if snapshot.resume_id != resume_id:
                resume_id = snapshot.resume_id
                self.stdout.write(snapshot.progress(now).model_dump_json())
                self.stdout.flush()
            if (concerning := concern(snapshot, now)) != note and (note := concerning):
                self.stderr.write(note)
            if is_once:
                break
        if snapshot.job.error:
            self.stderr.write(snapshot.job.error)
        return snapshot


def changes(job_id: str) -> Iterator[Snapshot]:
    """A snapshot per poll, at least one, until the job has no future. Raises JobNotFound."""
    while True:
        snapshot = load_snapshot(job_id)
        if snapshot is None:
            raise JobNotFound(job_id)
        yield snapshot
        if snapshot.job.is_finished or has_no_future(snapshot):
            return
        time.sleep(conf.poll_interval_seconds)


def has_no_future(snapshot: Snapshot) -> bool:
    """Ended without success, or running without a sign of life: nobody need wait any longer."""
    job = snapshot.job
    return (job.is_finished and job.job_status is not JobStatus.SUCCEEDED) or (
        job.liveness(timezone.now()) is Liveness.LOST
    )
