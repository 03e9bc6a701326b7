"""`manage.py follow`: jobs in the terminal until they have ended."""

import asyncio
import os
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext

from ingestion_progress.conf import conf
from ingestion_progress.exceptions import BatchNotFound, IngestionProgressError, JobNotFound
from ingestion_progress.feed import Selection
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.management.terminal.following import (
    ACTIVE,
    DELETED,
    SUCCESSES,
    follow,
    in_words,
)
from ingestion_progress.management.terminal.text import console_for
from ingestion_progress.management.terminal.views import JobView, JsonView, MultiJobView
from ingestion_progress.models import Job, clean_batch
from ingestion_progress.models.statuses import JobResult
from ingestion_progress.wire.batches import batch_frames

UNSUCCESSFUL, UNKNOWN_JOB, PARTIALLY_SUCCESSFUL, INTERRUPTED = 1, 2, 3, 130


class Command(TerminalCommand):
    help = (
        "Shows jobs until none of them is active, through all their attempts. Stopping it does not "
        "stop them. Exit code: "
        "0 all succeeded, 1 one failed, was cancelled or lost, 2 unknown job, "
        "3 all succeeded, but items of some failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "jobs", nargs="*", metavar="JOB_ID", help="One is shown with all its stages."
        )
        parser.add_argument(
            "--batch", help="The jobs of the batch with this id, also later ones; its forecast."
        )
        parser.add_argument("--all", action="store_true", help="Every active job, also later ones.")
        parser.add_argument("--once", action="store_true", help="Show the state now and stop.")
        parser.add_argument(
            "--json",
            action="store_true",
            help="One JSON object per change, as the stream sends it: of many jobs with job_id, of "
            "a batch with batch_id.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            selection = selected(options["jobs"], options["batch"], is_all=options["all"])
            code = self._follow(selection, is_json=options["json"], is_once=options["once"])
        except IngestionProgressError as refused:
            raise CommandError(refused.translated(), returncode=UNKNOWN_JOB) from refused
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # The reader of the output has closed it: Python's flush at exit must not fail as well.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(UNSUCCESSFUL)
        if code:
            sys.exit(code)

    def _follow(self, selection: Selection, *, is_json: bool, is_once: bool) -> int:
        """The exit code, for the jobs that have ended."""
        job_ids = selection.job_ids or ()
        is_single = len(job_ids) == 1
        view: MultiJobView | JsonView
        if is_json:
            view = JsonView(self.stdout, self.stderr, is_single=is_single)
        else:
            console = console_for(self.stdout)
            view = JobView(console) if is_single else MultiJobView(console)
        jobs = asyncio.run(follow(selection, view, is_once=is_once))
        if selection.batch and jobs.active:
            # It comes after the first states, with which `--once` ends.
            frames = batch_frames(Job.objects.all(), [selection.batch])
            view.show_batch(frames[selection.batch].data, is_last=True)
        tally = jobs.tally()
        if not is_single:
            view.conclude(in_words(tally) or gettext("No job is active."))
        elif DELETED in tally or not tally:
            raise JobNotFound(job_ids[0])
        if tally.keys() - {ACTIVE, *SUCCESSES}:
            return UNSUCCESSFUL
        return PARTIALLY_SUCCESSFUL if JobResult.PARTIAL.value in tally else 0


def selected(names: list[str], batch: str | None, *, is_all: bool) -> Selection:
    """The jobs that the arguments name.

    Raises CommandError, JobNotFound, BatchNotFound and InvalidBatch.
    """
    chosen = tuple(dict.fromkeys(names))
    if [bool(chosen), batch is not None, is_all].count(True) != 1:
        raise _refused(gettext("Name the jobs, or their --batch, or say --all."))
    if len(chosen) > conf.max_jobs_per_stream:
        values = {"number": len(chosen), "limit": conf.max_jobs_per_stream}
        text = gettext("%(limit)s jobs may be named, and these are %(number)s.")
        raise _refused(text % values)
    if batch is not None and not Job.objects.of_batch(clean_batch(batch)).exists():
        raise BatchNotFound(batch)
    if chosen:
        known = Job.objects.filter(pk__in=chosen).values_list("pk", flat=True)
        if missing := [job_id for job_id in chosen if job_id not in known]:
            raise JobNotFound(", ".join(missing))
        return Selection.named(chosen, is_until_idle=True)
    return Selection.active(batch=batch or "", is_until_idle=True)


def _refused(problem: str) -> CommandError:
    return CommandError(problem, returncode=UNKNOWN_JOB)
