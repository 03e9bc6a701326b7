"""A job before it runs (`JobPlan`), and one try at running it (`Attempt`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ingestion_progress.models import clean_batch, clean_job_id, new_job_id
from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.models.stages import MAX_STAGE_NAME_LENGTH
from ingestion_progress.tracker.changes import checked_count
from ingestion_progress.wire.percent import DEFAULT_WEIGHTS

MAX_STAGES = 100
MAX_POOL_SIZE = 10_000

Stages = Iterable[str] | Mapping[str, float]


def clean_text(text: str, max_length: int) -> str:
    """The text without what cannot be stored, cut to `max_length` with an ellipsis.

    PostgreSQL refuses NUL. Lone surrogates, as in an undecodable file name, cannot be encoded.
    """
    text = str(text).replace("\0", "")
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= max_length else text[: max_length - 1] + "…"


def stage_weights(stages: Stages | None) -> dict[str, float]:
    """Names with weights, in order. A name without a weight gets its default weight, or 10.

    Raises ValueError for an invalid name or weight.
    """
    if stages is None:
        return dict(DEFAULT_WEIGHTS)
    if isinstance(stages, str):
        raise ValueError(f"stages is the string {stages!r}; give a list.")  # noqa: TRY004
    if not isinstance(stages, Mapping):
        stages = {name: DEFAULT_WEIGHTS.get(name, 10.0) for name in stages}
    if not 1 <= len(stages) <= MAX_STAGES:
        raise ValueError(f"A job has 1 to {MAX_STAGES} stages, not {len(stages)}.")
    for name, weight in stages.items():
        is_name = isinstance(name, str) and name.isprintable() and name.strip() == name
        if not is_name or not 1 <= len(name) <= MAX_STAGE_NAME_LENGTH:
            raise ValueError(
                f"{name!r} cannot name a stage: use 1 to {MAX_STAGE_NAME_LENGTH} printable "
                "characters."
            )
        if not 0 < weight < float("inf"):
            raise ValueError(f"The weight of stage {name!r} is {weight!r}; it must be above 0.")
    return dict(stages)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try at a job. A retry is a new attempt with a new epoch."""

    job_id: str
    epoch: str
    document_id: str
    stage_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    """A job before it is written. Made by `JobPlan.of`, which checks and cleans."""

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
