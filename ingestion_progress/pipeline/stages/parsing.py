"""The first two stages: parses a file into pages, and describes its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ingestion_progress.pipeline.exceptions import (
    EmptyDocument,
    NothingIngested,
    UnreadableImage,
    UnreadablePage,
)
from ingestion_progress.pipeline.models import Document
from ingestion_progress.pipeline.stages import Chunk, Page, Pages, Picture
from ingestion_progress.pipeline.stages.image_description import ImageDescriber
from ingestion_progress.pipeline.stages.parsers import parser_for
from ingestion_progress.tracker import JobTracker


@dataclass(frozen=True)
class ParsedDocument:
    """The pages of a document, and a chunk for each described picture."""

    pages: Sequence[Page]
    picture_chunks: Sequence[Chunk]


def read_document(
    job: JobTracker, document: Document, file: BinaryIO, describer: ImageDescriber
) -> ParsedDocument:
    """Raises UnreadableDocument or NothingIngested."""
    with job.stage("parsing", unit="pages") as parsing:
        source = parser_for(document.media_type).open(file, document.name)
        parsing.set(total=len(source))
        pages = _read_pages(job, source, document.name)
    pictures = [picture for page in pages for picture in page.pictures]
    if not pictures:
        job.skip("vlm", "The document has no pictures.")
    picture_chunks = _describe(job, pictures, describer) if pictures else []
    if not picture_chunks and not any(page.text.strip() for page in pages):
        raise EmptyDocument(
            f"“{document.name}” has no text that can be read. Scanned pages need OCR first."
        )
    return ParsedDocument(pages, picture_chunks)


def _read_pages(job: JobTracker, source: Pages, name: str) -> list[Page]:
    stage = job.stage("parsing")
    pages: list[Page] = []
    images = 0
    for index in stage.iterate(range(len(source))):
        try:
            with stage.in_flight():
                page = source[index]
        except UnreadablePage as error:
            stage.record_error(error, item=f"page {index + 1}")
            continue
        for warning in page.warnings:
            job.log(warning, level="warning", stage=stage.name, item=page.label)
        pages.append(page)
        images += len(page.pictures)
        job.set_totals(images=images)
    if not pages:
        raise NothingIngested(f"None of the {len(source)} pages of “{name}” can be read.")
    return pages


def _describe(
    job: JobTracker, pictures: Sequence[Picture], describer: ImageDescriber
) -> list[Chunk]:
    chunks: list[Chunk] = []
    with job.stage("vlm", unit="images") as stage:
        for picture in stage.iterate(pictures):
            try:
                with stage.in_flight():
                    text = describer.describe(picture)
            except UnreadableImage as error:
                stage.record_error(error, item=picture.key)
                continue
            chunks.append(
                Chunk(key=picture.key, text=text, page=picture.page, heading=picture.heading)
            )
    return chunks
