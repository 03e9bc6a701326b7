"""The second stage: describes the pictures of a document, each of which becomes a chunk."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from ingestion_progress.exceptions import JobCancelled, JobSuperseded
from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import ModelRefused
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.parser_process.pages import ParsedPages
from ingestion_progress.pipeline.retries import PASSING
from ingestion_progress.pipeline.stages import Chunk, Picture
from ingestion_progress.pipeline.stages.concurrent_items import concurrently
from ingestion_progress.pipeline.stages.image_description import ImageDescriber
from ingestion_progress.pipeline.stages.stage_results import StageResults
from ingestion_progress.pipeline.stores.results import DescriptionStore
from ingestion_progress.tracker import JobTracker

logger = logging.getLogger("ingestion_progress.pipeline")

NOT_OF_A_PICTURE = (JobCancelled, JobSuperseded, ModelRefused, *PASSING)


class PictureReader:
    """Reads pictures with a parser that is opened when the first one is needed. Thread-safe."""

    def __init__(self, opened: Callable[[], ParsedPages]) -> None:
        self._open = opened
        self._lock = threading.Lock()

    @cached_property
    def _pages(self) -> ParsedPages:
        return self._open()

    def read(self, index: int, reference: int) -> bytes:
        """A picture of the page at `index`. Raises UnreadableImage or UnreadableDocument."""
        with self._lock:
            return self._pages.picture(index, reference)


def describe_pictures(
    job: JobTracker, document: Document, pictures: Sequence[Picture], describer: ImageDescriber
) -> list[Chunk]:
    """Chunks in the order of the pictures. Any error but NOT_OF_A_PICTURE costs one picture."""
    if not pictures:
        job.skip("vlm", StoredSentence("The document has no pictures."))
        return []
    by_number = {picture.number: picture for picture in pictures}
    with job.stage("vlm", total=len(pictures), unit="images") as stage:

        def described(number: int) -> str | None:
            picture = by_number[number]
            try:
                with stage.in_flight():
                    return describer.describe(picture)
            except NOT_OF_A_PICTURE:
                raise
            except Exception as error:
                logger.exception("picture_failed", extra={"picture": picture.key})
                stage.record_error(error, item=picture.key, key=number)
                return None

        def each(numbers: Sequence[int]) -> Iterator[tuple[int, str | None]]:
            size = min(len(numbers), getattr(describer, "concurrency", 1))
            check = job.raise_if_cancelled
            return concurrently(numbers, described, size=size, name="vlm", check=check)

        results = StageResults(job, stage, DescriptionStore(job.job_id, document.sha256))
        texts = results.all(list(by_number), each)
    return [_chunk(by_number[number], text) for number, text in texts.items()]


def _chunk(picture: Picture, text: str) -> Chunk:
    return Chunk(key=picture.key, text=text, page=picture.page, heading=picture.heading)
