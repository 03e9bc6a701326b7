"""The errors of the app: one catalogue of error codes, and one tree of exceptions.

IngestionProgressError
├── InvalidJobId        not a valid job id (also a ValueError)
├── InvalidBatch        not a valid id of a batch (also a ValueError)
├── InvalidMetadata     metadata that is too large, or not a JSON object (also a ValueError)
├── BatchNotFound       no batch has this id (also a LookupError)
├── BatchRefused        the batch exists, but not for this user
├── BatchExists         the id of the batch is taken
├── BatchActive         the batch has queued or running jobs
├── BatchFull           the job waits, because enough jobs of its batch run
├── JobNotFound         no job has this id (also a LookupError)
├── JobExists           the id is taken
├── UnknownStage        the job declares no such stage (also a LookupError)
├── InvalidCount        a count below 0 or above its total (also a ValueError)
├── InvalidTransition   the current status does not allow the change
├── JobNotRepeatable    no task is stored that could run the job again
├── JobSuperseded       a newer attempt owns the job; this one may not write
├── JobCancelled        the job was cancelled and should stop
├── AccessRefused       no permission to view the job, or an invalid token
├── InvalidTokenRequest a token for too many jobs or too long a time (also a ValueError)
├── QuotaExceeded       too many uploads, tokens or failed logins in a time
├── TokenKeyMissing     this server can check tokens but not sign them
└── ProgressUnavailable the database did not answer in time

Every message states the fact and the remedy, and may be shown to a user. It is a Sentence: the text
of an exception is English, and `translated()` is for the person who reads it.
"""

from ingestion_progress.exceptions.access import (
    AccessRefused,
    InvalidTokenRequest,
    QuotaExceeded,
    TokenKeyMissing,
)
from ingestion_progress.exceptions.base import IngestionProgressError
from ingestion_progress.exceptions.batches import (
    BatchActive,
    BatchExists,
    BatchFull,
    BatchNotFound,
    BatchRefused,
    InvalidBatch,
)
from ingestion_progress.exceptions.codes import ErrorCode
from ingestion_progress.exceptions.database import DATABASE_UNAVAILABLE, ProgressUnavailable
from ingestion_progress.exceptions.jobs import (
    InvalidCount,
    InvalidJobId,
    InvalidMetadata,
    InvalidTransition,
    JobCancelled,
    JobExists,
    JobNotFound,
    JobNotRepeatable,
    JobSuperseded,
    UnknownStage,
)
from ingestion_progress.exceptions.words import NAME_RULE

__all__ = [
    "DATABASE_UNAVAILABLE",
    "NAME_RULE",
    "AccessRefused",
    "BatchActive",
    "BatchExists",
    "BatchFull",
    "BatchNotFound",
    "BatchRefused",
    "ErrorCode",
    "IngestionProgressError",
    "InvalidBatch",
    "InvalidCount",
    "InvalidJobId",
    "InvalidMetadata",
    "InvalidTokenRequest",
    "InvalidTransition",
    "JobCancelled",
    "JobExists",
    "JobNotFound",
    "JobNotRepeatable",
    "JobSuperseded",
    "ProgressUnavailable",
    "QuotaExceeded",
    "TokenKeyMissing",
    "UnknownStage",
]
