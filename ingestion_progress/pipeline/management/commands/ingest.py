from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ingestion_progress.exceptions import DATABASE_AWAY, IngestionProgressError, JobCancelled
from ingestion_progress.management.terminal.one_job import console_for, live_bars, watch
from ingestion_progress.models import new_job_id
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.pipeline.exceptions import IngestionStopped
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.uploads.media_types import EXTENSIONS
from ingestion_progress.pipeline.uploads.names import clean_name, stable_id
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.tracker import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.management.base import CommandParser
    from rich.console import Console

    from ingestion_progress.models import Job

logger = logging.getLogger("ingestion_progress.pipeline")


class Command(BaseCommand):
    help = (
        "Ingests documents and shows how far they are. Without an option it does the work itself; "
        f"folders are searched for {', '.join(EXTENSIONS)}."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            "--detach", action="store_true", help="Leave it to a worker and print the job ids."
        )
        where.add_argument(
            "--wait", action="store_true", help="Leave it to a worker and watch until it is done."
        )
        parser.add_argument("--job-id", help="The id of the job, for a single document.")
        parser.add_argument("--batch", help="A name for the jobs together; several get one anyhow.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = [entry for path in options["paths"] for entry in _found(path)]
        if options["job_id"] and len(found) != 1:
            raise CommandError(f"--job-id is for one document, and these are {len(found)}.")
        self.console = console_for(self.stdout)
        self.refused = 0
        self.batch = options["batch"] or (new_job_id() if len(found) > 1 else None)
        is_here = not (options["detach"] or options["wait"])
        jobs = self._received(found, options["job_id"], is_enqueued=not is_here)
        if is_here:
            unsuccessful = sum(not _run(job, self.console) for job in jobs)
        elif options["detach"]:
            for job in jobs:
                self.console.print(f"{job.pk}  {job.document_name}", markup=False)
            unsuccessful = 0
        else:
            endings = watch([job.pk for job in list(jobs)], self.console)
            unsuccessful = sum(ending.job.status != JobStatus.SUCCEEDED for ending in endings)
        if unsuccessful + self.refused:
            raise CommandError(
                f"{unsuccessful + self.refused} of {len(found)} documents were not ingested."
            )

    def _received(
        self, found: list[tuple[Path, str]], job_id: str | None, *, is_enqueued: bool
    ) -> Iterator[Job]:
        """A job per document, one by one; what is refused is said and counted."""
        for path, document_id in found:
            try:
                with path.open("rb") as file:
                    job = receive(
                        file,
                        name=path.name,
                        job_id=job_id,
                        document_id=document_id,
                        batch=self.batch,
                        is_enqueued=is_enqueued,
                    )
            except (IngestionProgressError, OSError) as error:
                self._refuse(path, str(error))
            except DATABASE_AWAY:  # it is away for the documents that follow, too
                raise
            except Exception as error:
                logger.exception("document_not_received", extra={"path": _printable(path)})
                self._refuse(path, reason_of(error))
            else:
                yield job

    def _refuse(self, path: Path, reason: str) -> None:
        self.refused += 1
        self.console.print(f"{_printable(path)}: {reason}", style="red", markup=False)


def _found(path: Path) -> list[tuple[Path, str]]:
    """As `_documents`. Raises CommandError where there is none."""
    if not path.exists():
        raise CommandError(f"There is no {_printable(path)}.")
    documents = list(_documents(path))
    if not documents:
        kinds = ", ".join(EXTENSIONS)
        raise CommandError(f"There is no document in {_printable(path)}, of {kinds}.")
    return documents


def _printable(path: Path) -> str:
    """A file system may have names that are not UTF-8, and a terminal takes none."""
    return os.fsencode(path).decode(errors="replace")


def _documents(path: Path) -> Iterator[tuple[Path, str]]:
    """The files at a path with the ids of their documents, in the order of their names.

    A file is the document of its name, wherever it lies. Below a folder the way down belongs to
    the name, since folders may hold files of one name.
    """
    if path.is_file():
        yield path, stable_id(clean_name(path.name))
        return
    for file in sorted(path.rglob("*")):
        way = file.relative_to(path)
        is_hidden = any(part.startswith(".") for part in way.parts)
        if file.is_file() and not is_hidden and file.suffix.lower() in EXTENSIONS:
            *folders, name = way.parts
            yield file, stable_id("/".join([*folders, clean_name(name)]))


def _run(job: Job, console: Console) -> bool:
    """Ingests in this process; whether it succeeded. What went wrong is shown with the bars."""
    try:
        with live_bars(job.pk, console):
            ingest(job.pk)
    except IngestionStopped:
        raise CommandError("Stopped.", returncode=130) from None
    except (IngestionProgressError, JobCancelled):
        return False
    except DATABASE_AWAY:
        raise
    except Exception:
        logger.exception("document_not_ingested", extra={"job_id": job.pk})
        return False
    return True
