"""Plans of jobs, their attempts, and the checks of what ingestion tasks pass in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ingestion_progress.exceptions import InvalidCount
from ingestion_progress.models import clean_batch, clean_job_id, new_job_id
from ingestion_progress.models.about import About
from ingestion_progress.models.ids import MAX_NAME_LENGTH
from ingestion_progress.models.stages import MAX_STAGE_NAME_LENGTH
from ingestion_progress.tracker.metadata import clean_metadata
from ingestion_progress.tracker.owners import Owner
from ingestion_progress.wire.forecast import History
from ingestion_progress.wire.schemas import DEFAULT_WEIGHTS

MAX_STAGES = 100
MAX_POOL_SIZE = 10_000
MAX_OWN_COUNTERS = 50
MAX_COUNTER_NAME_LENGTH = 64
# JavaScript's largest exact integer, far below the limit of 8-byte columns.
MAX_COUNT = 2**53 - 1
# What PostgreSQL's 4-byte columns hold.
MAX_SMALL_COUNT = 2**31 - 1
SMALL_COUNTS = frozenset(
    {"total_chunks", "total_images", "pool_size", "queue_depth", "in_flight", "max_running"}
)

Stages = Iterable[str] | Mapping[str, float]

MAX_VERSION_LENGTH = 64
MAX_PRIORITY = 100


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try at a job. A retry is a new attempt with a new epoch."""

    job_id: str
    epoch: str
    document_id: str
    stage_names: tuple[str, ...]
    task: str = ""
    history: History = field(default=History(), compare=False)
    """The history of earlier jobs at the start of the attempt."""


class JobPlan:
    """A job before it is written, with checked and cleaned values."""

    def __init__(
        self,
        document_name: str,
        *,
        job_id: str | None = None,
        document_id: str | None = None,
        batch: str | None = None,
        stages: Stages | None = None,
        workers: int = 0,
        total_chunks: int = 0,
        total_images: int = 0,
        task: object = "",
        document_version: str = "",
        owner: object = None,
        metadata: Mapping[str, Any] | None = None,
        about: object = None,
        batch_name: str = "",
        priority: int = 0,
    ) -> None:
        """Raises InvalidJobId, InvalidBatch, InvalidCount, InvalidMetadata or ValueError."""
        if checked_count("workers", workers) > MAX_POOL_SIZE:
            raise ValueError(f"A pool has at most {MAX_POOL_SIZE} workers, not {workers}.")
        self.job_id = new_job_id() if job_id is None else clean_job_id(job_id)
        self.document_id = clean_text(document_id or "", MAX_NAME_LENGTH)
        self.document_name = clean_text(document_name, MAX_NAME_LENGTH)
        self.batch = "" if batch is None else clean_batch(batch)
        self.batch_name = clean_text(batch_name, MAX_NAME_LENGTH)
        """The name of the batch, if this job creates its record."""
        self.weights = None if stages is None else stage_weights(stages)
        """Weights by stage name. None: those of the queued job, or of the default stages."""
        self.workers = workers
        self.total_chunks = checked_count("total_chunks", total_chunks)
        self.total_images = checked_count("total_images", total_images)
        self.task = task_path(task)
        self.document_version = clean_text(document_version, MAX_VERSION_LENGTH)
        self.owner = Owner.of(owner)
        self.about = About.of(about)
        if abs(priority) > MAX_PRIORITY:
            raise ValueError(
                f"A priority is from {-MAX_PRIORITY} to {MAX_PRIORITY}, not {priority}."
            )
        self.priority = priority
        self.metadata = None if metadata is None else clean_metadata(metadata)


def checked_count(name: str, value: object) -> int:
    """The value itself. Raises InvalidCount unless it is an integer that its column can hold."""
    most = MAX_SMALL_COUNT if name in SMALL_COUNTS else MAX_COUNT
    if not isinstance(value, int) or not 0 <= value <= most:
        raise InvalidCount(f"{name} is {value!r}; it must be an integer from 0 to {most}.")
    return value


def checked_counts(**values: int | None) -> dict[str, int]:
    """The given values; those that are None are left out. Raises InvalidCount."""
    return {n: checked_count(n, value) for n, value in values.items() if value is not None}


def checked_counter_names(names: set[str]) -> set[str]:
    """The names themselves. Raises ValueError if they cannot be the job's own counters."""
    if len(names) > MAX_OWN_COUNTERS:
        raise ValueError(f"A job has at most {MAX_OWN_COUNTERS} counters of its own.")
    for name in names:
        if not 1 <= len(name) <= MAX_COUNTER_NAME_LENGTH or not name.isprintable():
            raise ValueError(
                f"{name!r} cannot name a counter: use 1 to {MAX_COUNTER_NAME_LENGTH} "
                "printable characters."
            )
    return names


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


def task_path(task: object) -> str:
    """The dotted path of a task: itself, a Django Task, a Celery task or a function.

    Raises ValueError if it cannot be imported by its path.
    """
    if isinstance(task, str):
        return task
    function: Any = getattr(task, "func", None) or getattr(task, "run", task)
    path = f"{function.__module__}.{function.__qualname__}"
    if "<" in path:
        raise ValueError(f"{path} cannot be imported: define the task at the top of a module.")
    return path
