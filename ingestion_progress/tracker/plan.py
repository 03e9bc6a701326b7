"""A job before it runs (`JobPlan`), and one try at running it (`Attempt`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingestion_progress.models import clean_batch, clean_job_id, new_job_id
from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.tracker.validation import (
    MAX_POOL_SIZE,
    Stages,
    checked_count,
    clean_text,
    stage_weights,
)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try at a job. A retry is a new attempt with a new epoch."""

    job_id: str
    epoch: str
    document_id: str
    stage_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    """A job before it is written. Created by `JobPlan.of`, which checks and cleans the values."""

    job_id: str
    document_id: str
    document_name: str
    batch: str
    weights: Mapping[str, float] | None
    """By stage name. None: those of the queued job, or the default stages."""
    workers: int
    total_chunks: int
    total_images: int

    @classmethod
    def of(
        cls,
        document_name: str,
        *,
        job_id: str | None = None,
        document_id: str | None = None,
        batch: str | None = None,
        stages: Stages | None = None,
        workers: int = 0,
        total_chunks: int = 0,
        total_images: int = 0,
    ) -> JobPlan:
        """Raises InvalidJobId, InvalidBatch, InvalidCount or ValueError."""
        if checked_count("workers", workers) > MAX_POOL_SIZE:
            raise ValueError(f"A pool has at most {MAX_POOL_SIZE} workers, not {workers}.")
        return cls(
            job_id=new_job_id() if job_id is None else clean_job_id(job_id),
            document_id=clean_text(document_id or "", MAX_NAME_LENGTH),
            document_name=clean_text(document_name, MAX_NAME_LENGTH),
            batch="" if batch is None else clean_batch(batch),
            weights=None if stages is None else stage_weights(stages),
            workers=workers,
            total_chunks=checked_count("total_chunks", total_chunks),
            total_images=checked_count("total_images", total_images),
        )
