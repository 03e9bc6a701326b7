"""`manage.py retry`: starts jobs again that have ended."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext

from ingestion_progress.exceptions import InvalidBatch
from ingestion_progress.management.age import age
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.management.terminal.user import command_user
from ingestion_progress.models import Job, clean_batch
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.recovery import RetryScope, retry_jobs


class Command(TerminalCommand):
    help = (
        "Queues a new attempt of jobs that have ended. A cancelled job was stopped on purpose: "
        "name it, or add --cancelled. Exit code 1 if one could not be retried."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("jobs", nargs="*", metavar="JOB_ID")
        parser.add_argument(
            "--batch",
            help="The jobs of this batch that failed or were lost; with --only failed, those that "
            "succeeded with failed items.",
        )
        parser.add_argument(
            "--failed", action="store_true", help="All jobs that failed or were lost."
        )
        parser.add_argument(
            "--cancelled",
            action="store_true",
            help="With --batch or --failed: also cancelled jobs.",
        )
        parser.add_argument(
            "--since", type=age, metavar="1d", help="With --batch or --failed: ended since then."
        )
        parser.add_argument(
            "--only",
            choices=[scope.value for scope in RetryScope],
            default=RetryScope.ALL.value,
            help="What a job that succeeded repeats; any other job continues. Default: all.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        job_ids = _selected(options)
        refused = retry_jobs(job_ids, only=options["only"], by=command_user())
        for job_id in job_ids:
            if job_id in refused:
                self.stderr.write(refused[job_id].translated())
            else:
                self.stdout.write(gettext("%(job)s is queued again.") % {"job": job_id})
        if refused:
            raise CommandError(gettext("Not retried: %(number)s") % {"number": len(refused)})
        if not job_ids:
            self.stdout.write(gettext("There is nothing to retry."))


def _selected(options: dict[str, Any]) -> list[str]:
    chosen = [bool(options["jobs"]), bool(options["batch"]), options["failed"]]
    if sum(chosen) != 1:
        raise CommandError(gettext("Name jobs, or say --batch or --failed."))
    if options["jobs"]:
        return list(dict.fromkeys(options["jobs"]))
    jobs = Job.objects.order_by("created_at", "pk")
    if options["batch"]:
        jobs = _in_batch(jobs, options["batch"])
    if options["batch"] and options["only"] == RetryScope.FAILED:
        jobs = jobs.filter(status=JobStatus.SUCCEEDED, failed_items__gt=0)
    else:
        cancelled = [JobStatus.CANCELLED] if options["cancelled"] else []
        jobs = jobs.filter(status__in=[JobStatus.FAILED, JobStatus.LOST, *cancelled])
    if options["since"]:
        jobs = jobs.filter(finished_at__gte=database_now() - options["since"])
    return list(jobs.values_list("pk", flat=True))


def _in_batch(jobs: JobQuerySet, batch: str) -> JobQuerySet:
    try:
        return jobs.of_batch(clean_batch(batch))
    except InvalidBatch as invalid:
        raise CommandError(invalid.translated()) from invalid
