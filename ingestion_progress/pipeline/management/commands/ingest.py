"""`manage.py ingest`: ingests files and folders."""

import asyncio
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext
from rich.console import Console

from ingestion_progress.exceptions import (
    DATABASE_UNAVAILABLE,
    IngestionProgressError,
    InvalidMetadata,
    JobCancelled,
)
from ingestion_progress.exceptions.sentences import translated
from ingestion_progress.feed import Selection
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.management.terminal.following import follow, shown
from ingestion_progress.management.terminal.output import printable
from ingestion_progress.management.terminal.text import console_for
from ingestion_progress.management.terminal.user import command_user
from ingestion_progress.management.terminal.views import JobView
from ingestion_progress.models import Job, new_job_id
from ingestion_progress.models.statuses import JobResult, JobStatus
from ingestion_progress.pipeline.exceptions import AlreadyIngested
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.management.arguments import language
from ingestion_progress.pipeline.uploads.media_types import FOLDER_EXTENSIONS
from ingestion_progress.pipeline.uploads.names import clean_name, stable_id
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.tracker import reason_of, request_cancellation
from ingestion_progress.tracker.metadata import metadata_of

# The exit code, the same as that of `follow`.
PARTIALLY_SUCCESSFUL = 3

logger = logging.getLogger("ingestion_progress.pipeline")


class Command(TerminalCommand):
    help = (
        "Ingests documents and shows their progress, by default in this process. Folders are "
        f"searched for {', '.join(FOLDER_EXTENSIONS)}. Exit code: 0 all were ingested, 1 one was "
        "not, 3 all were, but items of some failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            "--detach", action="store_true", help="Queue the jobs for a worker and print their ids."
        )
        where.add_argument(
            "--wait",
            action="store_true",
            help="Queue the jobs for a worker and wait for their end.",
        )
        parser.add_argument("--job-id", help="The id of the job of a single document.")
        parser.add_argument(
            "--batch", help="The id of their batch. Default: a random one if several."
        )
        parser.add_argument(
            "--priority",
            type=int,
            default=0,
            choices=range(-100, 101),
            metavar="N",
            help="-100 to 100: jobs with a higher one are run first (default: 0).",
        )
        parser.add_argument(
            "--language",
            type=language,
            metavar="CODE",
            help="Of the documents, as de. By default it is detected.",
        )
        parser.add_argument(
            "--force", action="store_true", help="Also documents that are ingested already."
        )
        parser.add_argument("--owner", metavar="USER", help="The user to whom the jobs belong.")
        parser.add_argument(
            "--metadata", metavar="JSON", default="", help="A JSON object that the jobs have."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        found = distinct([entry for path in options["paths"] for entry in _found(path)])
        if options["job_id"] and len(found) != 1:
            text = gettext("--job-id is for one document, not for %(number)s.")
            raise CommandError(text % {"number": len(found)})
        batch = options["batch"] or (new_job_id() if len(found) > 1 else None)
        is_enqueued = options["detach"] or options["wait"]
        try:
            metadata = metadata_of(options["metadata"])
        except InvalidMetadata as invalid:
            raise CommandError(invalid.translated()) from invalid
        self.console = console_for(self.stdout)
        jobs = self._received(
            found,
            job_id=options["job_id"],
            batch=batch,
            priority=options["priority"],
            language=options["language"] or "",
            owner=_owner(options["owner"]),
            metadata=metadata,
            is_enqueued=is_enqueued,
            skips_known=not (options["force"] or options["job_id"]),
        )
        if options["wait"]:
            jobs = iter(list(jobs))  # all are queued before the first is waited for
        finish = _print if options["detach"] else _wait if options["wait"] else _run
        results = Counter(finish(job, self.console) for job in jobs)
        partial = results[JobResult.PARTIAL]
        failed = len(found) - results[JobResult.SUCCEEDED] - partial
        if failed:
            text = gettext("%(number)s of %(total)s documents were not ingested.")
            raise CommandError(text % {"number": failed, "total": len(found)})
        if partial:
            text = gettext("%(number)s of %(total)s documents were ingested with errors.")
            text %= {"number": partial, "total": len(found)}
            raise CommandError(text, returncode=PARTIALLY_SUCCESSFUL)

    def _received(self, found: list[tuple[Path, str]], **options: Any) -> Iterator[Job]:
        """Yields a job per document, and prints why documents are refused."""
        for path, document_id in found:
            try:
                with path.open("rb") as file:
                    job = receive(file, name=path.name, document_id=document_id, **options)
            except AlreadyIngested as known:
                advice = gettext("--force ingests it again.")
                text = f"{known.translated()} {advice}"
                self.console.print(printable(text), style="dim", markup=False)
                yield known.job
                continue
            except IngestionProgressError as error:
                reason = error.translated()
            except OSError as error:
                reason = str(error)
            except DATABASE_UNAVAILABLE:  # affects the documents that follow as well
                raise
            except Exception as error:
                logger.exception("document_not_received", extra={"path": _decodable(path)})
                reason = str(translated(reason_of(error)))
            else:
                yield job
                continue
            self.console.print(
                printable(f"{_decodable(path)}: {reason}"), style="red", markup=False
            )


def _owner(name: str | None) -> Any:
    if name is None:
        return None
    users: Any = get_user_model()._default_manager
    try:
        return users.get_by_natural_key(name)
    except ObjectDoesNotExist:
        raise CommandError(gettext("There is no user %(name)s.") % {"name": name}) from None


def _found(path: Path) -> list[tuple[Path, str]]:
    """The documents at a path, as in `_documents`. Raises CommandError if there are none."""
    if not path.exists():
        raise CommandError(gettext("There is no %(path)s.") % {"path": _decodable(path)})
    documents = list(_documents(path))
    if not documents:
        kinds = ", ".join(FOLDER_EXTENSIONS)
        text = gettext("There is no document in %(path)s (%(extensions)s).")
        raise CommandError(text % {"path": _decodable(path), "extensions": kinds})
    return documents


def distinct(found: list[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """Each file once. Files with the same document id get ids that depend on their paths below
    the folder that they share: none of them is a newer version of another one.
    """
    files: dict[str, tuple[Path, str]] = {}
    for path, document_id in found:
        files.setdefault(str(path.absolute()), (path, document_id))
    shared = defaultdict[str, list[str]](list)
    for file, (_, document_id) in files.items():
        shared[document_id].append(file)
    for same in (each for each in shared.values() if len(each) > 1):
        folder = os.path.commonpath(same)
        for file in same:
            parts = map(clean_name, Path(file).relative_to(folder).parts)
            files[file] = (files[file][0], stable_id("/".join(parts)))
    return list(files.values())


def _decodable(path: Path) -> str:
    """The path without bytes that are not UTF-8, which terminals refuse."""
    return os.fsencode(path).decode(errors="replace")


def _documents(path: Path) -> Iterator[tuple[Path, str]]:
    """The files at a path with the ids of their documents, in the order of their names.

    The id of a file depends on its name alone; in a given folder, on its path in that folder.
    """
    if path.is_file():
        yield path, stable_id(clean_name(path.name))
        return
    for file in sorted(path.rglob("*")):
        *folders, name = parts = file.relative_to(path).parts
        is_hidden = any(part.startswith(".") for part in parts)
        if file.is_file() and not is_hidden and file.suffix.lower() in FOLDER_EXTENSIONS:
            yield file, stable_id("/".join([*folders, clean_name(name)]))


def _result_of(job: Job) -> JobResult | None:
    """None if the job has not ended or is deleted."""
    stored = Job.objects.filter(pk=job.pk).first()
    return stored.result if stored else None


def _run(job: Job, console: Console) -> JobResult | None:
    """Ingests in this process. The bars show an error."""
    if job.job_status is not JobStatus.QUEUED:  # the same content was ingested before
        return _result_of(job) if job.is_finished else _wait(job, console)
    try:
        with shown(job.pk, JobView(console)):
            ingest(job.pk, retry_on=())  # perhaps no worker runs that could continue
    except (KeyboardInterrupt, SystemExit):
        # It was handed back, and no other worker is to continue it.
        request_cancellation(job.pk, by=command_user())
        raise CommandError(gettext("Stopped."), returncode=130) from None
    except (IngestionProgressError, JobCancelled):
        return None
    except DATABASE_UNAVAILABLE:
        raise
    except Exception:
        logger.exception("document_not_ingested", extra={"job_id": job.pk})
        return None
    return _result_of(job)


def _print(job: Job, console: Console) -> JobResult:
    console.print(printable(f"{job.pk}  {job.document_name}"), markup=False)
    return JobResult.SUCCEEDED


def _wait(job: Job, console: Console) -> JobResult | None:
    """Shows a job that a worker ingests, until it has ended."""
    selection = Selection.named([job.pk], is_until_idle=True)
    asyncio.run(follow(selection, JobView(console), waits_for_lost=True))
    return _result_of(job)
