"""The errors of the pipeline.

IngestionProgressError
└── PipelineError
    ├── UnreadableDocument      the document cannot be ingested
    │   ├── EmptyDocument           it has no bytes, no pages or no content
    │   ├── DocumentTooLarge        it needs too much memory or time
    │   │   └── UploadTooLarge          it is above the limit for uploads
    │   ├── UnsupportedDocument     no parser reads this kind of document
    │   ├── MislabelledDocument     its extension does not match its content
    │   ├── ProtectedDocument       it needs a password
    │   └── DamagedDocument         it is truncated or otherwise broken
    ├── UnreadablePage          one page is damaged; the others are read
    ├── UnreadableImage         one picture is damaged; the others are described
    ├── DocumentNotFound        no upload has this id (also a LookupError)
    ├── StoredFileMissing       the file of an upload is gone
    ├── StorageUnavailable      the file of an upload cannot be read now: it may pass
    ├── ParserUnavailable       the process of the parsers has ended: it may pass
    ├── ModelUnavailable        the endpoint of the models is away for too long: it may pass
    ├── ModelRefused            the endpoint refuses the key, or does not know the model
    ├── UnusableAnswer          a model's answer about one item is refused, cut off or malformed
    ├── DocumentNotStored       the disk is full, or the storage is broken
    ├── DocumentBusy            a job is ingesting the document
    ├── DocumentRefused         the id is that of a document that is hidden from the user
    ├── AlreadyIngested         an upload has the content of a version that is ingested
    ├── EditionMissing        the editions of earlier attempts were deleted
    ├── NothingIngested         all pages or all chunks failed
    ├── TaskNotQueued           the task queue refused the job
    ├── VectorStoreUnavailable  Qdrant refuses, or its folder is damaged
    │   └── VectorStoreBusy         Qdrant does not answer in time, or is locked: it may pass
    ├── GraphStoreUnavailable   the server of the graph refuses
    │   └── GraphStoreBusy          it does not answer in time: it may pass
    └── GraphRefused            the server of the graph does not take what was extracted

Every message is a sentence that may be shown to a user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_progress.exceptions import ErrorCode, IngestionProgressError
from ingestion_progress.exceptions.sentences import Sentence, StoredSentence

if TYPE_CHECKING:
    from ingestion_progress.models import Job


class PipelineError(IngestionProgressError):
    """Base of everything the pipeline raises on purpose."""


class UnreadableDocument(PipelineError):
    code = ErrorCode.UNREADABLE_DOCUMENT


class EmptyDocument(UnreadableDocument):
    code = ErrorCode.EMPTY_DOCUMENT


class DocumentTooLarge(UnreadableDocument):
    code = ErrorCode.TOO_LARGE


class UploadTooLarge(DocumentTooLarge): ...


class UnsupportedDocument(UnreadableDocument):
    code = ErrorCode.UNSUPPORTED_DOCUMENT


class MislabelledDocument(UnreadableDocument): ...


class ProtectedDocument(UnreadableDocument): ...


class DamagedDocument(UnreadableDocument): ...


class UnreadablePage(PipelineError): ...


class UnreadableImage(PipelineError): ...


class DocumentNotFound(PipelineError, LookupError):
    code = ErrorCode.NOT_FOUND

    def __init__(self, document_id: str) -> None:
        super().__init__(
            StoredSentence(
                "There is no document %(document)s. If it was deleted, upload it again.",
                document=document_id,
            )
        )
        self.document_id = document_id


class StoredFileMissing(PipelineError):
    code = ErrorCode.NOT_FOUND

    def __init__(self, name: str) -> None:
        super().__init__(
            StoredSentence(
                "The file of “%(name)s” is gone from the server. Upload it again.", name=name
            )
        )


class StorageUnavailable(PipelineError):
    code = ErrorCode.UNAVAILABLE

    def __init__(self, name: str) -> None:
        super().__init__(
            StoredSentence(
                "The storage of uploads did not return all of “%(name)s”. Try again later.",
                name=name,
            )
        )


class ParserUnavailable(PipelineError):
    code = ErrorCode.UNAVAILABLE

    def __init__(self) -> None:
        super().__init__(
            StoredSentence("The process that reads documents has ended. Try again later.")
        )


class ModelUnavailable(PipelineError):
    code = ErrorCode.UNAVAILABLE

    def __init__(self, host: str) -> None:
        super().__init__(
            StoredSentence(
                "The model at %(host)s did not answer in time. Try again later.", host=host
            )
        )


class ModelRefused(PipelineError):
    code = ErrorCode.UNAVAILABLE


class UnusableAnswer(PipelineError): ...


class DocumentNotStored(PipelineError):
    code = ErrorCode.UNAVAILABLE


class DocumentBusy(PipelineError):
    code = ErrorCode.JOB_ACTIVE

    def __init__(self, name: str, job_id: str) -> None:
        super().__init__(
            Sentence(
                "“%(name)s” is being ingested by job %(job)s. Ingest it again when that has ended.",
                name=name,
                job=job_id,
            )
        )
        self.job_id = job_id


class DocumentRefused(PipelineError):
    """The text does not say that the document exists."""

    code = ErrorCode.INVALID_REQUEST

    def __init__(self) -> None:
        super().__init__(Sentence("document_id: this id cannot be used."))


class AlreadyIngested(PipelineError):
    def __init__(self, name: str, job: Job) -> None:
        if job.is_finished:
            sentence = Sentence(
                "“%(name)s” is ingested already: job %(job)s.", name=name, job=job.pk
            )
        else:
            sentence = Sentence("“%(name)s” is being ingested: job %(job)s.", name=name, job=job.pk)
        super().__init__(sentence)
        self.job = job


class EditionMissing(PipelineError):
    def __init__(self) -> None:
        super().__init__(
            StoredSentence("The results of earlier attempts were deleted; the job starts from 0.")
        )


class NothingIngested(PipelineError): ...


class TaskNotQueued(PipelineError):
    code = ErrorCode.UNAVAILABLE


class VectorStoreUnavailable(PipelineError):
    code = ErrorCode.UNAVAILABLE


class VectorStoreBusy(VectorStoreUnavailable):
    service = StoredSentence("the vector store")
    """What a job waits for, which its page shows."""


class GraphStoreUnavailable(PipelineError):
    code = ErrorCode.UNAVAILABLE


class GraphStoreBusy(GraphStoreUnavailable):
    service = StoredSentence("the graph store")


class GraphRefused(PipelineError): ...
