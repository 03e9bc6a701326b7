"""What can go wrong, as one tree.

IngestionProgressError
├── InvalidJobId        a job id that cannot be one (also a ValueError)
├── InvalidBatch        a name that no batch can have (also a ValueError)
├── JobNotFound         no job has this id (also a LookupError)
├── JobExists           the id is taken
├── UnknownStage        the job declares no such stage (also a LookupError)
├── InvalidCount        a count below 0 or above its total (also a ValueError)
├── InvalidTransition   the status does not allow what was asked
├── JobSuperseded       a newer attempt owns the job now; this one may not write
├── JobCancelled        somebody asked the job to stop
├── AccessRefused       who asks may not see the job, or brought a token that does not count
├── InvalidTokenRequest a token for too many jobs or too long a time (also a ValueError)
├── TokenKeyMissing     tokens can be checked here, but not signed
└── ProgressUnavailable the database did not answer in time where somebody waits for it

Every message says what is the case and what to do about it, and may be shown to a user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import InterfaceError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Iterable

DATABASE_AWAY = (OperationalError, InterfaceError)
"""What Django raises where its database cannot be reached or is busy."""


class IngestionProgressError(Exception):
    """Base of everything this app raises on purpose."""


class InvalidJobId(IngestionProgressError, ValueError):
    def __init__(self) -> None:
        super().__init__(
            "A job id has 1 to 255 printable characters, none of them a slash, a backslash "
            "or a leading or trailing space."
        )


class InvalidBatch(IngestionProgressError, ValueError):
    def __init__(self) -> None:
        super().__init__(
            "A batch is named by 1 to 255 printable characters, none of them a slash, a backslash "
            "or a leading or trailing space."
        )


class JobNotFound(IngestionProgressError, LookupError):
    def __init__(self, job_id: str, running: Iterable[str] = ()) -> None:
        names = ", ".join(running)
        super().__init__(f"Job not found: {job_id}" + (f". Running now: {names}." if names else ""))
        self.job_id = job_id


class JobExists(IngestionProgressError):
    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(
            f"Job {job_id} exists and is {status}. Choose another id, or leave it out to get one."
        )
        self.job_id = job_id


class UnknownStage(IngestionProgressError, LookupError):
    def __init__(self, name: str, declared: Iterable[str]) -> None:
        super().__init__(f"Unknown stage {name!r}. This job declares: {', '.join(declared)}.")
        self.name = name


class InvalidCount(IngestionProgressError, ValueError):
    pass


class InvalidTransition(IngestionProgressError):
    def __init__(self, subject: str, status: str, refused: str) -> None:
        super().__init__(f"{subject} is {status} and cannot {refused}.")


class JobSuperseded(IngestionProgressError):
    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"Job {job_id} was started again or deleted since; this attempt may not write to it."
        )
        self.job_id = job_id


class JobCancelled(IngestionProgressError):
    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job {job_id} was cancelled.")
        self.job_id = job_id


class AccessRefused(IngestionProgressError):
    def __init__(self, code: str) -> None:
        super().__init__(f"Refused: {code}.")
        self.code = code
        """`unauthorized`, `forbidden`, `token_invalid` or `token_expired`."""


class InvalidTokenRequest(IngestionProgressError, ValueError):
    pass


class TokenKeyMissing(IngestionProgressError):
    def __init__(self) -> None:
        super().__init__(
            "This server checks tokens with a public key and has no private key to sign them. "
            "Ask the service that has it, or set INGESTION_PROGRESS_TOKEN_PRIVATE_KEY."
        )


class ProgressUnavailable(IngestionProgressError):
    def __init__(self, job_id: str, action: str) -> None:
        super().__init__(
            f"The database did not confirm the {action} of job {job_id} in time. "
            "Is it reachable and not locked by a long transaction?"
        )
        self.job_id = job_id
