"""Groups of errors: in memory until the next flush, then in the rows of a job."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from datetime import datetime
from hashlib import blake2b

from ingestion_progress.models import Job, JobError
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.errors import MAX_KIND_LENGTH, MAX_PATTERN_LENGTH
from ingestion_progress.models.events import MAX_MESSAGE_LENGTH
from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.models.stages import MAX_STAGE_NAME_LENGTH
from ingestion_progress.tracker.database import rows, rows_of_jobs, upsert
from ingestion_progress.tracker.error_messages import pattern_of, without_folders, without_secrets
from ingestion_progress.tracker.plan import clean_text

# Per job. All other errors are counted in one more group.
MAX_GROUPS = 100
OTHER = "Other errors"
OTHER_DIGEST = "other"
MAX_ITEM_LENGTH = 255
MERGED = ("count", "attempt", "first_at", "last_at", "examples", "resolved_at", "resolved_by")


def error_group(
    message: str, *, at: datetime, stage: str = "", item: str = "", kind: str = ""
) -> JobError:
    """The group of one error, not stored; without a stage, the job itself failed."""
    text = without_secrets(message)
    group = JobError(
        stage=clean_text(stage, MAX_STAGE_NAME_LENGTH),
        kind=clean_text(kind, MAX_KIND_LENGTH),
        message=clean_text(pattern_of(text), MAX_PATTERN_LENGTH),
        count=1,
        attempt=0,
        first_at=at,
        last_at=at,
        examples=[
            {
                "item": clean_text(without_folders(without_secrets(item)), MAX_ITEM_LENGTH),
                "message": clean_text(without_folders(text), MAX_MESSAGE_LENGTH),
            }
        ],
    )
    key = "\0".join((group.stage, group.kind, group.message))
    group.digest = blake2b(key.encode(), digest_size=16).hexdigest()
    return group


class ErrorGroups(dict[str, JobError]):
    """Groups by digest: at most MAX_GROUPS and the one of all other errors."""

    def add(self, group: JobError) -> JobError:
        """Returns the group in which the errors are counted. Keeps and changes its copies only."""
        if group.digest not in self and len(self) >= MAX_GROUPS:
            group = copy(group)
            group.stage = group.kind = ""
            group.message, group.digest = OTHER, OTHER_DIGEST
        if known := self.get(group.digest):
            known.follow(group)
        else:
            self[group.digest] = copy(group)
        return self[group.digest]

    def follow(self, later: ErrorGroups) -> None:
        for group in later.values():
            self.add(group)


def resolve_error(job_id: str, error_id: int, *, by: str = "") -> bool:
    """Marks a group resolved; `by` names who asked. False if it is none, or is resolved already."""
    errors = rows(JobError).filter(job_id=job_id, pk=error_id, resolved_at__isnull=True)
    name = clean_text(by, MAX_NAME_LENGTH)
    return bool(errors.update(resolved_at=database_now(), resolved_by=name))


def reopen_error(job_id: str, error_id: int) -> bool:
    """False if the job has no such group."""
    errors = rows(JobError).filter(job_id=job_id, pk=error_id)
    return bool(errors.update(resolved_at=None, resolved_by=""))


def write_errors(job: Job, errors: Iterable[JobError]) -> None:
    """Adds errors to the groups of a locked job: two statements, however many errors there are."""
    upsert_errors(changed_groups(job, rows_of_jobs(JobError, [job.pk]), errors))


def upsert_errors(groups: Iterable[JobError]) -> None:
    upsert(JobError, groups, by=["job", "digest"], columns=MERGED)


def changed_groups(
    job: Job, stored: list[JobError], errors: Iterable[JobError]
) -> Iterable[JobError]:
    """The groups of a locked job that count these errors, to be stored. Updates `stored`."""
    groups = ErrorGroups({row.digest: row for row in stored})
    changed = {}
    for error in errors:
        group = copy(error)
        group.job, group.attempt = job, job.attempt
        group.examples = [example | {"attempt": job.attempt} for example in error.examples]
        counted = groups.add(group)
        counted.pk = None  # the conflict that updates the row is that of its digest
        changed[counted.digest] = counted
    stored[:] = groups.values()
    return changed.values()
