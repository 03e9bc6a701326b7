"""What can go wrong with a document, as one tree under the app's own.

IngestionProgressError
└── PipelineError
    ├── UnreadableDocument      nothing can be made of this document
    │   ├── EmptyDocument           it has no bytes, no pages or no content
    │   ├── DocumentTooLarge        it would unpack to too much
    │   │   └── UploadTooLarge          it is above the limit for uploads
    │   ├── UnsupportedDocument     a kind of document that no parser reads
    │   ├── MislabelledDocument     its extension says one thing, its content another
    │   ├── ProtectedDocument       it needs a password
    │   └── DamagedDocument         truncated, or broken in another way
    ├── UnreadablePage          one page of it; the others go on
    ├── UnreadableImage         one picture of it; the others go on
    ├── DocumentNotFound        no upload has this id (also a LookupError)
    ├── StoredFileMissing       the file of an upload is gone
    ├── DocumentNotStored       the disk is full, or the storage is broken
    ├── DocumentBusy            another job is ingesting it right now
    ├── NothingIngested         every single part failed
    ├── IngestionStopped        its process was told to stop
    ├── TaskNotQueued           the task queue did not take the job
    └── VectorStoreUnavailable  Qdrant does not answer, or its folder is locked or damaged

Every message is a sentence for a person and may be shown to a user.
"""

from __future__ import annotations

from ingestion_progress.exceptions import IngestionProgressError


class PipelineError(IngestionProgressError):
    """Base of everything the pipeline raises on purpose."""


class UnreadableDocument(PipelineError):
    pass


class EmptyDocument(UnreadableDocument):
    pass


class DocumentTooLarge(UnreadableDocument):
    pass


class UploadTooLarge(DocumentTooLarge):
    pass


class UnsupportedDocument(UnreadableDocument):
    pass


class MislabelledDocument(UnreadableDocument):
    pass


class ProtectedDocument(UnreadableDocument):
    pass


class DamagedDocument(UnreadableDocument):
    pass


class UnreadablePage(PipelineError):
    pass


class UnreadableImage(PipelineError):
    pass


class DocumentNotFound(PipelineError, LookupError):
    def __init__(self, document_id: str) -> None:
        super().__init__(f"There is no upload for document {document_id}. Upload it again.")
        self.document_id = document_id


class StoredFileMissing(PipelineError):
    def __init__(self, name: str) -> None:
        super().__init__(f"The file of “{name}” is gone from the server. Upload it again.")


class DocumentNotStored(PipelineError):
    pass


class DocumentBusy(PipelineError):
    def __init__(self, name: str, job_id: str) -> None:
        super().__init__(
            f"“{name}” is being ingested by job {job_id}. Ingest it again when that has ended."
        )
        self.job_id = job_id


class NothingIngested(PipelineError):
    pass


class IngestionStopped(PipelineError):
    pass


class TaskNotQueued(PipelineError):
    pass


class VectorStoreUnavailable(PipelineError):
    pass
