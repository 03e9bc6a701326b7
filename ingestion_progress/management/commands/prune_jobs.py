"""`manage.py prune_jobs`: deletes old jobs that have ended."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ingestion_progress.conf import conf
from ingestion_progress.management.age import age
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.recovery.retention import prunable_jobs, prune_jobs


class Command(TerminalCommand):
    help = (
        "Deletes jobs that have ended, with their logs and task results, the oldest first and in "
        "small transactions. Ctrl-C stops it; what is deleted stays deleted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=age,
            metavar="30d",
            help="Jobs that ended longer ago: m, h, d or w. Default: KEEP_JOBS_DAYS.",
        )
        parser.add_argument(
            "--status",
            action="append",
            choices=sorted(JobStatus.final()),
            help="Jobs with this status; may be repeated. Default: any.",
        )
        parser.add_argument(
            "--keep", type=int, default=0, metavar="N", help="Keep the newest N with this status."
        )
        parser.add_argument(
            "--documents",
            action="store_true",
            help="Also their documents (file, chunks, graph) to which no other job refers.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only count the jobs.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = prunable_jobs(
            older_than=_older_than(options),
            statuses=options["status"] or (),
            keep=max(0, options["keep"]),
        )
        count = found.count()
        if options["dry_run"]:
            self.stdout.write(f"{count} jobs would be deleted.")
            return
        deleted = 0
        try:
            for jobs in prune_jobs(found, with_documents=options["documents"]):
                deleted += jobs
                if deleted < count:
                    self.stdout.write(f"{deleted} of {count} jobs deleted")
        except KeyboardInterrupt:
            raise CommandError(
                f"Stopped. {deleted} of {count} jobs were deleted.", returncode=130
            ) from None
        self.stdout.write(f"{deleted} jobs deleted.")


def _older_than(options: dict[str, Any]) -> timedelta:
    if options["older_than"] is not None:
        older_than: timedelta = options["older_than"]
        return older_than
    if not conf.keep_jobs_days and options["keep"] <= 0:
        raise CommandError("Say --older-than or --keep, or set KEEP_JOBS_DAYS.")
    return timedelta(days=conf.keep_jobs_days)
