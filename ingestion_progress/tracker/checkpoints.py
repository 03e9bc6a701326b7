"""Reads and merges the keys of a stage's items that are done. See `Checkpoint`."""

from __future__ import annotations

from ingestion_progress.models import Checkpoint
from ingestion_progress.tracker.changes import KeyChanges
from ingestion_progress.tracker.database import rows
from ingestion_progress.tracker.keys import MAX_FAILED_KEYS, KeyCounts, KeySet
from ingestion_progress.tracker.plan import Attempt


def done_keys(attempt: Attempt, stage: str) -> KeySet:
    """The stored keys of a stage whose items are done."""
    checkpoint = rows(Checkpoint).filter(job=attempt.job_id, stage=stage).first()
    return KeySet() if checkpoint is None else KeySet(checkpoint.ranges, checkpoint.keys)


def merge_keys(checkpoint: Checkpoint, changes: KeyChanges) -> KeyCounts:
    """Adds reported keys to the checkpoint of a job that the caller has locked.

    In an attempt the first report of a key counts: a key that has failed is not done, and one that
    is done does not fail.
    """
    done, failed = KeySet(checkpoint.ranges, checkpoint.keys), set(checkpoint.failed)
    added = done.update(changes.done.without(failed))
    newly_failed = [key for key in changes.failed if key not in failed and key not in done]
    room = max(0, MAX_FAILED_KEYS - len(failed))
    counts = KeyCounts(
        new=added.new + changes.forgotten + len(newly_failed),
        failed=len(newly_failed),
        forgotten=added.forgotten + changes.forgotten,
    )
    if counts.new:
        checkpoint.ranges, checkpoint.keys = done.ranges, done.texts
        checkpoint.failed += newly_failed[:room]
    return counts
