"""The first stage: parses a file into pages."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import EmptyDocument, NothingIngested, UnreadablePage
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.parser_process.pages import ParsedPages
from ingestion_progress.pipeline.retries import patiently
from ingestion_progress.pipeline.stages import Chunk, Page, Pages, page_label
from ingestion_progress.pipeline.stages.image_description import ImageDescriber
from ingestion_progress.pipeline.stages.parsers import parser_path
from ingestion_progress.pipeline.stages.picture_chunks import PictureReader, describe_pictures
from ingestion_progress.pipeline.stages.stage_results import StageResults
from ingestion_progress.pipeline.stores.results import PageStore
from ingestion_progress.tracker import JobTracker


@dataclass(frozen=True)
class ParsedDocument:
    """The pages of a document, and a chunk for each described picture."""

    pages: Sequence[Page]
    picture_chunks: Sequence[Chunk]


def read_document(
    job: JobTracker,
    document: Document,
    open_file: Callable[[], BinaryIO],
    describer: ImageDescriber,
) -> ParsedDocument:
    """Raises UnreadableDocument or NothingIngested."""

    def opened(files: ExitStack) -> ParsedPages:
        file = files.enter_context(closing(patiently(job, open_file)))
        parser = parser_path(document.media_type)
        opening = partial(ParsedPages, parser, file, document.name, job.raise_if_cancelled)
        return files.enter_context(patiently(job, opening))

    with ExitStack() as picture_files:
        reader = PictureReader(partial(opened, picture_files))
        with job.stage("parsing", unit="pages"), ExitStack() as files:
            pages = _read_pages(job, document, partial(opened, files), reader)
        pictures = [picture for page in pages for picture in page.pictures]
        picture_chunks = describe_pictures(job, document, pictures, describer)
    if not picture_chunks and not any(page.text.strip() for page in pages):
        empty = StoredSentence("Its pages are empty.")
        unread = next((page.unread for page in pages if page.unread), empty)
        raise EmptyDocument(
            StoredSentence(
                "“%(name)s” has no text that can be read. %(reason)s",
                name=document.name,
                reason=unread,
            )
        )
    return ParsedDocument(pages, picture_chunks)


def _read_pages(
    job: JobTracker, document: Document, opened: Callable[[], Pages], reader: PictureReader
) -> list[Page]:
    """Opens the document unless all its pages are stored."""
    stage, store = job.stage("parsing"), PageStore(job.job_id, document.sha256)
    results = StageResults(job, stage, store)
    source = DocumentPages(opened, store.page_count)
    store.page_count = len(source)
    stage.set(total=len(source))
    pages: list[Page] = []
    images = 0
    reasons: list[str] = []
    parse = partial(_parsed, job, source, reasons)
    for index, page in results.each(range(len(source)), parse):
        pages.append(_numbered(page, images, partial(reader.read, index)))
        images += len(page.pictures)
        job.set_totals(images=images)
    if not pages:
        raise NothingIngested(_nothing_read(document.name, reasons))
    return pages


def _nothing_read(name: str, reasons: list[str]) -> str:
    if not reasons:
        return StoredSentence("None of the pages of “%(name)s” can be read.", name=name)
    return StoredSentence(
        "None of the pages of “%(name)s” can be read. %(reason)s", name=name, reason=reasons[0]
    )


class DocumentPages:
    """Opens the document for its number of pages, if that is 0, or for the first page."""

    def __init__(self, opened: Callable[[], Pages], page_count: int) -> None:
        self._open = opened
        self._page_count = page_count

    @cached_property
    def _pages(self) -> Pages:
        return self._open()

    def __len__(self) -> int:
        return self._page_count or len(self._pages)

    def __getitem__(self, index: int, /) -> Page:
        return self._pages[index]


def _numbered(page: Page, before: int, read: Callable[[int], bytes]) -> Page:
    """A parser counts the pictures of the pages that it has read, and some may be stored.

    `read` reads a picture of this page by its reference.
    """
    numbered = tuple(
        replace(
            picture,
            number=number,
            content=None if picture.reference is None else partial(read, picture.reference),
        )
        for number, picture in enumerate(page.pictures, start=before + 1)
    )
    return replace(page, pictures=numbered)


def _parsed(job: JobTracker, source: Pages, reasons: list[str], index: int) -> Page | None:
    """None if the page cannot be read: the reason is added to those of other pages."""
    stage = job.stage("parsing")
    try:
        with stage.in_flight():
            page = source[index]
    except UnreadablePage as error:
        stage.record_error(error, item=page_label(index + 1), key=index)
        reasons.append(str(error))
        return None
    if page.unread:
        stage.record_error(page.unread, item=page.label, key=index)
    for warning in page.warnings:
        job.log(warning, level="warning", stage=stage.name, item=page.label)
    return page
