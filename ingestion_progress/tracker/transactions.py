"""Writes of many jobs that people ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ingestion_progress.exceptions import ProgressUnavailable
from ingestion_progress.tracker.database import (
    busy_as_unavailable,
    jobs,
    progress_transaction,
    unlocked,
)

Refused = TypeVar("Refused")

JOBS_PER_TRANSACTION = 200


def in_transactions(
    job_ids: Sequence[str],
    action: str,
    write: Callable[[Sequence[str]], dict[str, Refused]],
) -> dict[str, Refused | ProgressUnavailable]:
    """Writes many jobs in few transactions, each of which waits for a locked row once.

    Returns, by id, why others could not be written.
    """
    refused: dict[str, Refused | ProgressUnavailable] = {}
    for chunk in in_chunks(job_ids):
        try:
            with busy_as_unavailable(chunk[0], action), progress_transaction():
                written = write(chunk)
        except ProgressUnavailable:
            unlocked_only = _write_unlocked(chunk, action, write)
            refused.update(unlocked_only)
        else:
            refused.update(written)
    return refused


def _write_unlocked(
    job_ids: Sequence[str], action: str, write: Callable[[Sequence[str]], dict[str, Refused]]
) -> dict[str, Refused | ProgressUnavailable]:
    """Leaves jobs out that another connection has locked; all if it locks another row of them."""
    found = jobs().filter(pk__in=job_ids)
    try:
        with busy_as_unavailable(job_ids[0], action), progress_transaction():
            free = set(unlocked(found).values_list("pk", flat=True))
            locked = set(found.values_list("pk", flat=True)) - free
            others = write([job_id for job_id in job_ids if job_id not in locked])
    except ProgressUnavailable:
        locked, others = set(job_ids), {}
    return {**others, **{job_id: ProgressUnavailable(job_id, action) for job_id in locked}}


def in_chunks(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids in parts, each with as many as one transaction should lock."""
    for start in range(0, len(job_ids), JOBS_PER_TRANSACTION):
        yield job_ids[start : start + JOBS_PER_TRANSACTION]
