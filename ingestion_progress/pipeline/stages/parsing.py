"""The first two stages: parses a file into pages, and describes its pictures."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

from ingestion_progress.pipeline.exceptions import (
    EmptyDocument,
    NothingIngested,
    UnreadableImage,
    UnreadablePage,
)
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.retries import patiently
from ingestion_progress.pipeline.stages import Chunk, Page, Pages, Picture
from ingestion_progress.pipeline.stages.image_description import ImageDescriber
from ingestion_progress.pipeline.stages.parsers import parser_for
from ingestion_progress.pipeline.stores.pages import PageStore
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
    with job.stage("parsing", unit="pages") as parsing:
        store = PageStore(job.job_id, document.sha256)
        stored = patiently(job, store.load)
        with closing(patiently(job, open_file)) as file:
            source = parser_for(document.media_type).open(file, document.name)
            parsing.set(total=len(source))
            pages = _read_pages(job, source, document.name, store, stored)
    pictures = [picture for page in pages for picture in page.pictures]
    if not pictures:
        job.skip("vlm", "The document has no pictures.")
    picture_chunks = _describe(job, pictures, describer) if pictures else []
    if not picture_chunks and not any(page.text.strip() for page in pages):
        raise EmptyDocument(
            f"“{document.name}” has no text that can be read. Scanned pages need OCR first."
        )
    return ParsedDocument(pages, picture_chunks)


def _read_pages(
    job: JobTracker, source: Pages, name: str, store: PageStore, stored: Mapping[int, Page]
) -> list[Page]:
    stage = job.stage("parsing")
    write = partial(store.write, lambda index: stage.advance(key=index))
    pages: list[Page] = []
    images = 0
    for index in range(len(source)):
        job.raise_if_cancelled()
        page = stored.get(index) or _parsed(job, source, index)
        if page is None:
            continue
        page = _numbered(page, images)
        pages.append(page)
        images += len(page.pictures)
        job.set_totals(images=images)
        if index in stored:
            stage.advance(key=index)
        elif store.add(index, page):
            patiently(job, write)
    patiently(job, write)
    if not pages:
        raise NothingIngested(f"None of the {len(source)} pages of “{name}” can be read.")
    return pages


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
    for warning in page.warnings:
        job.log(warning, level="warning", stage=stage.name, item=page.label)
    return page


def _describe(
    job: JobTracker, pictures: Sequence[Picture], describer: ImageDescriber
) -> list[Chunk]:
    """The next attempt describes them again: their texts are needed for embedding."""
    chunks: list[Chunk] = []
    with job.stage("vlm", total=len(pictures), unit="images") as stage:
        for picture in pictures:
            job.raise_if_cancelled()
            try:
                with stage.in_flight():
                    text = describer.describe(picture)
            except UnreadableImage as error:
                stage.record_error(error, item=picture.key, key=picture.number)
                continue
            chunks.append(
                Chunk(key=picture.key, text=text, page=picture.page, heading=picture.heading)
            )
            stage.advance(key=picture.number)
    return chunks
