from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ingestion_progress.conf import conf
from ingestion_progress.exceptions import InvalidBatch, JobNotFound
from ingestion_progress.feed import Selection
from ingestion_progress.management.terminal.json_lines import JsonLines
from ingestion_progress.management.terminal.many_jobs import Panel
from ingestion_progress.management.terminal.one_job import Bars, console_for
from ingestion_progress.management.terminal.poll import (
    ACTIVE,
    Lookout,
    News,
    has_no_future,
    in_words,
)
from ingestion_progress.models import Job, clean_batch
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.snapshots import Snapshot, load_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser

UNSUCCESSFUL, UNKNOWN_JOB, INTERRUPTED = 1, 2, 130


class Command(BaseCommand):
    help = (
        "Watches jobs until none of them is active. Leaving does not touch them. Exit code: "
        "0 all succeeded, 1 one failed, was cancelled or lost, 2 unknown job."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "jobs", nargs="*", metavar="JOB_ID", help="One is shown with all its stages."
        )
        parser.add_argument("--batch", help="The jobs that were started together, also later ones.")
        parser.add_argument("--all", action="store_true", help="Every active job, also later ones.")
        parser.add_argument("--once", action="store_true", help="Show how it is now, and leave.")
        parser.add_argument(
            "--json",
            action="store_true",
            help="One JSON object per change, as the stream has it; of many jobs with job_id.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        selection = selected(options["jobs"], options["batch"], is_all=options["all"])
        single = selection.job_ids is not None and len(selection.job_ids) == 1
        follow = self._follow_one if single else self._follow_many
        try:
            is_good = follow(selection, is_json=options["json"], is_once=options["once"])
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # Whoever read the output has gone; so must Python's own flush at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(UNSUCCESSFUL)
        except JobNotFound as error:
            raise CommandError(str(error), returncode=UNKNOWN_JOB) from error
        if not is_good:
            sys.exit(UNSUCCESSFUL)

    # One job

    def _follow_one(self, selection: Selection, *, is_json: bool, is_once: bool) -> bool:
        (job_id,) = selection.job_ids or ()
        show = self._print_json if is_json else self._draw
        return not has_no_future(show(changes(job_id), is_once=is_once))

    def _draw(self, snapshots: Iterator[Snapshot], *, is_once: bool) -> Snapshot:
        with Bars(console_for(self.stdout)) as bars:
            for snapshot in snapshots:
                bars.show(snapshot)
                if is_once:
                    break
        return snapshot

    def _print_json(self, snapshots: Iterator[Snapshot], *, is_once: bool) -> Snapshot:
        lines = JsonLines(self.stdout, self.stderr, names_jobs=False)
        for snapshot in snapshots:
            lines.tell(snapshot)
            if is_once:
                break
        return snapshot

    # Many jobs

    def _follow_many(self, selection: Selection, *, is_json: bool, is_once: bool) -> bool:
        """Has none of those that were watched ended badly?"""
        lookout = Lookout(selection)
        printer: JsonLines | Panel = (
            JsonLines(self.stdout, self.stderr) if is_json else Panel(console_for(self.stdout))
        )
        with printer:
            for news in looks(lookout):
                printer.show(lookout, news)
                if is_once:
                    break
        tally = lookout.tally()
        printer.conclude(in_words(tally) or "No job is active.")
        return tally.keys() <= {ACTIVE, JobStatus.SUCCEEDED.value}


def selected(names: list[str], batch: str | None, *, is_all: bool) -> Selection:
    """The jobs that were asked for. Raises CommandError where the question has no answer."""
    chosen = tuple(dict.fromkeys(names))
    if [bool(chosen), batch is not None, is_all].count(True) != 1:
        raise _refused("Name the jobs, or their --batch, or say --all.")
    if len(chosen) > conf.max_jobs_per_stream:
        most = conf.max_jobs_per_stream
        raise _refused(f"{most} jobs may be named, and these are {len(chosen)}.")
    if batch is not None:
        _check_batch(batch)
    return Selection.named(chosen) if chosen else Selection.active(batch=batch or "")


def _check_batch(batch: str) -> None:
    try:
        clean_batch(batch)
    except InvalidBatch as invalid:
        raise _refused(str(invalid)) from invalid
    if not Job.objects.of_batch(batch).exists():
        raise _refused(f"Batch not found: {batch}")


def _refused(problem: str) -> CommandError:
    return CommandError(problem, returncode=UNKNOWN_JOB)


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


def looks(lookout: Lookout) -> Iterator[News]:
    """What is news per poll, at least once, until no job is left to wait for."""
    while True:
        yield lookout.look()
        if lookout.is_idle:
            return
        time.sleep(conf.poll_interval_seconds)
