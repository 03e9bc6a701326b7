"""The first two stages: parses a file into pages, and describes its pictures."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import BinaryIO, Generic

from ingestion_progress.pipeline.exceptions import (
    EmptyDocument,
    NothingIngested,
    UnreadableImage,
    UnreadablePage,
)
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.parser_process.pages import ParsedPages
from ingestion_progress.pipeline.retries import patiently
from ingestion_progress.pipeline.stages import Chunk, Page, Pages, Picture
from ingestion_progress.pipeline.stages.image_description import ImageDescriber
from ingestion_progress.pipeline.stages.parsers import parser_path
from ingestion_progress.pipeline.stores.results import (
    DescriptionStore,
    PageStore,
    Result,
    ResultStore,
)
from ingestion_progress.tracker import JobTracker, StageTracker


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
    with job.stage("parsing", unit="pages"), ExitStack() as files:

        def opened() -> Pages:
            file = files.enter_context(closing(patiently(job, open_file)))
            parser = parser_path(document.media_type)
            opening = partial(ParsedPages, parser, file, document.name, job.raise_if_cancelled)
            return files.enter_context(patiently(job, opening))

        pages = _read_pages(job, document, opened)
    pictures = [picture for page in pages for picture in page.pictures]
    if not pictures:
        job.skip("vlm", "The document has no pictures.")
    picture_chunks = _describe(job, document, pictures, describer) if pictures else []
    if not picture_chunks and not any(page.text.strip() for page in pages):
        unread = next((page.unread for page in pages if page.unread), "Its pages are empty.")
        raise EmptyDocument(f"“{document.name}” has no text that can be read. {unread}")
    return ParsedDocument(pages, picture_chunks)


class StageResults(Generic[Result]):
    """The results of a stage: stored by an earlier attempt, or made now and stored."""

    def __init__(self, job: JobTracker, stage: StageTracker, store: ResultStore[Result]) -> None:
        self._job, self._stage, self._store = job, stage, store
        self._stored = patiently(job, store.load)

    def each(
        self, indices: Iterable[int], make: Callable[[int], Result | None]
    ) -> Iterator[tuple[int, Result]]:
        """With their indices. Leaves out what cannot be made: then `make` returns None."""
        write = partial(self._store.write, lambda index: self._stage.advance(key=index))
        for index in indices:
            self._job.raise_if_cancelled()
            result = self._stored.get(index) or make(index)
            if result is None:
                continue
            yield index, result
            if index in self._stored:
                self._stage.advance(key=index)
            elif self._store.add(index, result):
                patiently(self._job, write)
        patiently(self._job, write)


def _read_pages(job: JobTracker, document: Document, opened: Callable[[], Pages]) -> list[Page]:
    """Opens the document unless all its pages are stored."""
    stage, store = job.stage("parsing"), PageStore(job.job_id, document.sha256)
    results = StageResults(job, stage, store)
    source = DocumentPages(opened, store.page_count)
    store.page_count = len(source)
    stage.set(total=len(source))
    pages: list[Page] = []
    images = 0
    parse = partial(_parsed, job, source)
    for _, page in results.each(range(len(source)), parse):
        pages.append(_numbered(page, images))
        images += len(page.pictures)
        job.set_totals(images=images)
    if not pages:
        raise NothingIngested(f"None of the {len(source)} pages of “{document.name}” can be read.")
    return pages


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


def _numbered(page: Page, before: int) -> Page:
    """A parser counts the pictures of the pages that it has read, and some may be stored."""
    pictures = enumerate(page.pictures, start=before + 1)
    numbered = tuple(replace(picture, number=number) for number, picture in pictures)
    return replace(page, pictures=numbered)


def _parsed(job: JobTracker, source: Pages, index: int) -> Page | None:
    """None if the page is damaged."""
    stage = job.stage("parsing")
    try:
        with stage.in_flight():
            page = source[index]
    except UnreadablePage as error:
        stage.record_error(error, item=f"page {index + 1}", key=index)
        return None
    if page.unread:
        stage.record_error(page.unread, item=page.label, key=index)
    for warning in page.warnings:
        job.log(warning, level="warning", stage=stage.name, item=page.label)
    return page


def _describe(
    job: JobTracker, document: Document, pictures: Sequence[Picture], describer: ImageDescriber
) -> list[Chunk]:
    by_number = {picture.number: picture for picture in pictures}
    with job.stage("vlm", total=len(pictures), unit="images") as stage:

        def described(number: int) -> str | None:
            picture = by_number[number]
            try:
                with stage.in_flight():
                    return describer.describe(picture)
            except UnreadableImage as error:
                stage.record_error(error, item=picture.key, key=number)
                return None

        results = StageResults(job, stage, DescriptionStore(job.job_id, document.sha256))
        return [
            _picture_chunk(by_number[number], text)
            for number, text in results.each(by_number, described)
        ]


def _picture_chunk(picture: Picture, text: str) -> Chunk:
    return Chunk(key=picture.key, text=text, page=picture.page, heading=picture.heading)
