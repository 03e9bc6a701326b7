"""`manage.py retry`: starts jobs again that have ended."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from ingestion_progress.exceptions import IngestionProgressError
from ingestion_progress.management.age import age
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.models import Job, clean_batch
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.recovery import RetryScope, retry_job


class Command(TerminalCommand):
    help = "Queues a new attempt of jobs that have ended. Exit code 1 if one could not be retried."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("jobs", nargs="*", metavar="JOB_ID")
        parser.add_argument("--batch", help="The jobs of this batch that did not succeed.")
        parser.add_argument(
            "--failed", action="store_true", help="All jobs that failed or were lost."
        )
        parser.add_argument(
            "--since", type=age, metavar="1d", help="With --failed: that ended in this time."
        )
        parser.add_argument(
            "--only",
            choices=[scope.value for scope in RetryScope],
            default=RetryScope.ALL.value,
            help="Of a job that succeeded: everything again, or only the items that failed.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        refused = 0
        for job_id in _selected(options):
            try:
                job = retry_job(job_id, only=options["only"])
            except IngestionProgressError as error:
                self.stderr.write(str(error))
                refused += 1
            else:
                self.stdout.write(f"{job.pk} is queued: attempt {job.attempt}")
        if refused:
            raise CommandError(f"Not retried: {refused}")


def _selected(options: dict[str, Any]) -> list[str]:
    chosen = [bool(options["jobs"]), bool(options["batch"]), options["failed"]]
    if sum(chosen) != 1:
        raise CommandError("Name jobs, or say --batch or --failed.")
    if options["jobs"]:
        return list(options["jobs"])
    jobs = _unsuccessful()
    if options["batch"]:
        jobs = jobs.of_batch(clean_batch(options["batch"]))
    if options["since"]:
        jobs = jobs.filter(finished_at__gte=timezone.now() - options["since"])
    return list(jobs.order_by("created_at").values_list("pk", flat=True))


def _unsuccessful() -> Any:
    return Job.objects.filter(status__in=[JobStatus.FAILED, JobStatus.LOST])
