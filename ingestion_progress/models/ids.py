"""The ids of jobs and attempts, and the names of batches."""

import secrets

from ingestion_progress.exceptions import InvalidBatch, InvalidJobId

MAX_NAME_LENGTH = 255


def new_job_id() -> str:
    """128 random bits, which cannot be guessed.

    No id begins with a dash: `manage.py follow` would read it as an option.
    """
    while (job_id := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return job_id


def new_epoch() -> str:
    """Identifies one attempt. Random, so that a restored backup cannot repeat one."""
    return secrets.token_hex(6)


def clean_job_id(job_id: object) -> str:
    """The id itself. Raises InvalidJobId if it cannot be one segment of a URL."""
    if (
        not isinstance(job_id, str)
        or not 1 <= len(job_id) <= MAX_NAME_LENGTH
        or not job_id.isprintable()
        or job_id != job_id.strip()
        or set("/\\") & set(job_id)
        or job_id in {".", ".."}
    ):
        raise InvalidJobId
    return job_id


def clean_batch(batch: object) -> str:
    """The name itself; the rules of ids apply. Raises InvalidBatch."""
    try:
        return clean_job_id(batch)
    except InvalidJobId:
        raise InvalidBatch from None
