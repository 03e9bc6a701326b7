"""Writes of many jobs that people ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ingestion_progress.exceptions import ProgressUnavailable
from ingestion_progress.tracker.database import busy_as_unavailable, progress_transaction

Refused = TypeVar("Refused")

JOBS_PER_TRANSACTION = 200


def in_transactions(
    job_ids: Sequence[str],
    action: str,
    write: Callable[[Sequence[str]], dict[str, Refused]],
) -> dict[str, Refused | ProgressUnavailable]:
    """Writes many jobs in few transactions; those of one with a locked row one by one.

    Returns, by id, why others could not be written.
    """
    refused: dict[str, Refused | ProgressUnavailable] = {}
    for chunk in in_chunks(job_ids):
        try:
            with busy_as_unavailable(chunk[0], action), progress_transaction():
                written = write(chunk)
        except ProgressUnavailable as busy:
            if len(chunk) == 1:
                refused[chunk[0]] = busy
            else:
                for job_id in chunk:
                    alone = in_transactions([job_id], action, write)
                    refused.update(alone)
        else:
            refused.update(written)
    return refused


def in_chunks(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many ids as one transaction should lock."""
    for start in range(0, len(job_ids), JOBS_PER_TRANSACTION):
        yield job_ids[start : start + JOBS_PER_TRANSACTION]
