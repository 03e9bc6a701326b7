"""Scanned pages, with the extra `ocr` and without it."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageDraw, ImageFont

from ingestion_progress.models.statuses import JobResult
from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    DocumentTooLarge,
    EmptyDocument,
    NothingIngested,
    UnreadablePage,
)
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers import image, ocr
from ingestion_progress.pipeline.uploads.media_types import MediaType
from ingestion_progress.recovery import retry_job
from tests.pipeline.stages.test_pdf_text import DOCUMENTS
from tests.pipeline.test_ingestion import (
    assert_counts_are_what_is_stored,
    errors,
    ingested,
    queued,
    stages,
)
from tests.support.documents import storage  # noqa: F401
from tests.support.parsers import WITHOUT_OCR, parser_for

SENTENCE = (
    "Page 2 has no text, only pictures, which may show words. "
    "Install django-ingestion-progress[ocr] on the workers to read it."
)


def picture_of(words: str = "", size: tuple[int, int] = (900, 300)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    font = ImageFont.load_default(size=44)
    ImageDraw.Draw(image).multiline_text((30, 30), words, fill="black", font=font)
    return image


def scan(*words: str) -> bytes:
    """A PDF with a picture of words on each page."""
    first, *others = [picture_of(each) for each in words]
    buffer = io.BytesIO()
    first.save(buffer, "PDF", save_all=True, append_images=others, resolution=150)
    return buffer.getvalue()


def read(data: bytes) -> list[Page]:
    source = parser_for(MediaType.PDF).open(io.BytesIO(data), "scan.pdf")
    return [source[index] for index in range(len(source))]


def test_words_of_a_scanned_page_are_read():
    (page,) = read(scan("The nuthatch climbs\nheadfirst, like no other."))
    assert page.text.split() == ["The", "nuthatch", "climbs", "headfirst,", "like", "no", "other."]
    assert (page.unread, page.warnings) == ("", ())
    assert len(page.pictures) == 1


def test_a_picture_without_words_is_a_page_without_text():
    (page,) = read(scan(""))
    assert (page.text, page.unread) == ("", "")


@pytest.mark.parametrize("size", [(14_000, 3000), (6000, 6000), (9000, 1)])
def test_a_page_of_any_size_is_rendered_within_the_limit(monkeypatch: pytest.MonkeyPatch, size):
    sizes = []
    monkeypatch.setattr(ocr, "text_of", lambda image: sizes.append(image.size) or "")
    buffer = io.BytesIO()
    picture_of(size=size).save(buffer, "PDF", resolution=72)
    read(buffer.getvalue())
    width, height = sizes[0]
    assert max(width, height) <= ocr.MAX_SIDE_PIXELS + 1
    assert width * height <= ocr.MAX_PIXELS * 1.01


@pytest.mark.usefixtures("storage")
@pytest.mark.django_db(transaction=True)
def test_a_page_whose_ocr_needs_too_much_memory_says_so(settings):
    settings.INGESTION_PROGRESS_PARSER_MEMORY_BYTES = 450 * 1024 * 1024
    buffer = io.BytesIO()
    picture_of("The nuthatch climbs\n" * 9, (1650, 1650)).save(buffer, "PDF", resolution=150)
    job = queued(buffer.getvalue(), "scan.pdf")
    with pytest.raises(NothingIngested) as raised:
        ingest(job.pk)
    reason = "Page 1 needs more than 450 MB of memory to read and was left out."
    assert str(raised.value) == f"None of the pages of “scan.pdf” can be read. {reason}"


@pytest.mark.usefixtures("storage")
@pytest.mark.django_db(transaction=True)
def test_without_ocr_scanned_pages_count_as_failed_and_can_be_retried_with_it(settings):
    settings.INGESTION_PROGRESS_PARSERS = {MediaType.PDF: WITHOUT_OCR}
    job = ingested(scan("The nuthatch climbs headfirst.", "The wren sings.", ""), "scan.pdf")
    assert (job.status, job.result, job.failed_items) == ("succeeded", JobResult.PARTIAL, 3)
    assert errors(job) == [("parsing", f"page {number}") for number in (1, 2, 3)]
    assert job.events.get(item="page 2").message == SENTENCE
    assert [(group.count, group.stage) for group in job.errors.all()] == [(3, "parsing")]
    assert search("nuthatch") == []

    settings.INGESTION_PROGRESS_PARSERS = {}
    retry_job(job.pk, only="failed")
    ingest(job.pk)
    job.refresh_from_db()
    assert (job.status, job.result, job.failed_items) == ("succeeded", JobResult.SUCCEEDED, 0)
    assert stages(job)["parsing"] == ("completed", 3, 3, 0)
    assert len(search("nuthatch")) == len(search("wren")) == 1
    assert_counts_are_what_is_stored(job)


@pytest.mark.usefixtures("storage")
@pytest.mark.django_db(transaction=True)
def test_a_document_of_which_nothing_is_read_says_why(settings):
    settings.INGESTION_PROGRESS_PARSERS = {MediaType.PDF: WITHOUT_OCR}
    job = queued(DOCUMENTS / "unnamed-letters.pdf")
    with pytest.raises(EmptyDocument, match=r"The fonts of page 1 do not say .* Install django-"):
        ingest(job.pk)


def frames(*words: str) -> bytes:
    first, *others = [picture_of(each) for each in words]
    buffer = io.BytesIO()
    first.save(buffer, "TIFF", save_all=True, append_images=others)
    return buffer.getvalue()


def read_picture(data: bytes) -> list[Page]:
    source = parser_for(MediaType.TIFF).open(io.BytesIO(data), "scan.tiff")
    return [source[index] for index in range(len(source))]


def test_each_frame_of_a_picture_is_a_page():
    pages = read_picture(frames("The wren sings.", "The nuthatch climbs."))
    assert [(page.number, page.text) for page in pages] == [
        (1, "The wren sings."),
        (2, "The nuthatch climbs."),
    ]
    assert [picture.format for page in pages for picture in page.pictures] == ["TIFF", "TIFF"]


def test_without_ocr_a_picture_is_unread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ocr, "is_available", lambda: False)
    (page,) = read_picture(frames("The wren sings."))
    assert (page.number, page.text) == (None, "")
    assert page.unread.startswith("The picture may show words. Install django-ingestion-progress[")


def test_damaged_and_too_large_pictures_have_a_sentence(monkeypatch: pytest.MonkeyPatch):
    data = frames("The wren sings.")
    with pytest.raises(DamagedDocument, match=r"“scan\.tiff” is damaged"):
        read_picture(data[:4] + bytes(200))
    monkeypatch.setattr(image, "MAX_PIXELS", 1000)
    with pytest.raises(UnreadablePage, match="The picture has too many pixels"):
        read_picture(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DocumentTooLarge, match="has too many pixels"):
        read_picture(data)
