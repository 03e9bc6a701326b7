"""The files of pictures, from the parser to a describer that looks at them."""

from __future__ import annotations

import base64
import io
import threading
import time
from typing import ClassVar

import pytest
from django.db import connections
from PIL import Image

from ingestion_progress.exceptions import JobCancelled
from ingestion_progress.pipeline.exceptions import UnreadableImage
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.parser_process.pages import ParsedPages
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.stages.parsers import parser_path
from ingestion_progress.pipeline.stages.parsers.picture_files import MAX_SIDE_PIXELS, scaled
from ingestion_progress.pipeline.uploads.media_types import MediaType
from ingestion_progress.recovery import retry_job
from ingestion_progress.tracker import request_cancellation
from tests.pipeline.stages.test_docx import word
from tests.pipeline.stages.test_epub import chapter, epub
from tests.pipeline.test_ingestion import ingested, queued
from tests.support.documents import png, storage  # noqa: F401

GREEN, BLUE = (0, 128, 0), (0, 0, 255)


def picture(colour, size=(50, 40), form="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, form, **options)
    return buffer.getvalue()


def colour_of(jpeg: bytes) -> tuple[int, ...]:
    image = Image.open(io.BytesIO(jpeg))
    assert image.format == "JPEG"
    middle = image.getpixel((image.width // 2, image.height // 2))
    return tuple(round(value / 64) * 64 for value in middle)


def near(colour) -> tuple[int, ...]:
    return tuple(round(value / 64) * 64 for value in colour)


def address(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def pdf_of(*pages: bytes) -> bytes:
    images = [Image.open(io.BytesIO(each)) for each in pages]
    buffer = io.BytesIO()
    images[0].save(buffer, "PDF", save_all=True, append_images=images[1:])
    return buffer.getvalue()


def tiff_of(*pages: bytes) -> bytes:
    images = [Image.open(io.BytesIO(each)) for each in pages]
    buffer = io.BytesIO()
    images[0].save(buffer, "TIFF", save_all=True, append_images=images[1:])
    return buffer.getvalue()


def drawing(key: str) -> str:
    return f'<w:p><w:r><a:blip r:embed="{key}"/></w:r></w:p>'


def large_file(colour) -> bytes:
    """More than the parsers read of a picture to learn its size."""
    noise = Image.effect_noise((900, 900), 90).convert("RGB")
    noise.paste(colour, (300, 300, 600, 600))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    assert len(buffer.getvalue()) > 1024 * 1024
    return buffer.getvalue()


DOCUMENTS = {
    MediaType.HTML: lambda a, b: (
        f"<img src='x.png'><img src='{address(a)}'><img src='{address(b)}'>".encode()
    ),
    MediaType.MARKDOWN: lambda a, b: f"![]({address(a)})\n\nText\n\n![]({address(b)})".encode(),
    MediaType.DOCX: lambda a, b: word(
        drawing("image1") + drawing("image2"),
        {"word/a.png": a, "word/b.png": b},
        image1="a.png",
        image2="b.png",
    ),
    MediaType.EPUB: lambda a, b: epub(
        {"a": chapter('<img src="../img/a.png"/><img src="../img/b.png"/>')},
        {"OEBPS/img/a.png": a, "OEBPS/img/b.png": b},
    ),
    MediaType.PDF: pdf_of,
    MediaType.TIFF: tiff_of,
}


@pytest.mark.parametrize("media_type", DOCUMENTS)
def test_each_picture_of_a_document_is_found_again_by_its_reference(media_type, tmp_path):
    second = large_file(BLUE) if media_type is MediaType.DOCX else picture(BLUE)
    path = tmp_path / "document"
    path.write_bytes(DOCUMENTS[media_type](picture(GREEN), second))
    with path.open("rb") as file, ParsedPages(parser_path(media_type), file, "a") as pages:
        found = [(at, each) for at in range(len(pages)) for each in pages[at].pictures]
    places = [(at, each.reference) for at, each in found if each.reference is not None]
    assert len(places) == 2
    with path.open("rb") as file, ParsedPages(parser_path(media_type), file, "a") as pages:
        colours = [colour_of(pages.picture(*place)) for place in reversed(places)]
        assert colours == [near(BLUE), near(GREEN)]
        with pytest.raises(UnreadableImage):
            pages.picture(0, 99)
        assert colour_of(pages.picture(*places[0])) == near(GREEN)


@pytest.mark.parametrize(
    ("mode", "size", "shown"),
    [
        ("RGB", (50, 40), (50, 40)),
        ("L", (50, 40), (50, 40)),
        ("P", (50, 40), (50, 40)),
        ("CMYK", (50, 40), (50, 40)),
        ("1", (50, 40), (50, 40)),
        ("RGB", (6000, 3000), (MAX_SIDE_PIXELS, MAX_SIDE_PIXELS // 2)),
        ("RGB", (30, 3072), (15, MAX_SIDE_PIXELS)),
    ],
)
def test_a_picture_of_any_mode_becomes_a_jpeg_of_bounded_size(mode, size, shown):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "TIFF")
    image = Image.open(io.BytesIO(scaled(buffer.getvalue())))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", shown)


def test_transparent_pixels_become_white():
    buffer = io.BytesIO()
    Image.new("RGBA", (50, 40), (0, 0, 0, 0)).save(buffer, "PNG")
    assert colour_of(scaled(buffer.getvalue())) == near((255, 255, 255))


@pytest.mark.parametrize("data", [b"", b"no picture", png()[:40], png(30, 30)[:-30] + b"x" * 30])
def test_damaged_pictures_are_refused_with_a_sentence(data):
    with pytest.raises(UnreadableImage, match="damaged"):
        scaled(data)


def test_a_bomb_of_pixels_is_refused_before_it_is_decoded():
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, "PNG")
    with pytest.raises(UnreadableImage, match=r"too many pixels|damaged"):
        scaled(buffer.getvalue())


class LookingDescriber:
    """Says which colour it has seen."""

    concurrency: ClassVar[int] = 3
    seconds: ClassVar[float] = 0.0
    fails: ClassVar[set[int]] = set()
    described: ClassVar[list[int]] = []
    finished: ClassVar[list[int]] = []
    at_once: ClassVar[set[str]] = set()

    def describe(self, found):
        self.described.append(found.number)
        self.at_once.add(threading.current_thread().name)
        time.sleep(self.seconds)
        self.finished.append(found.number)
        if found.number in self.fails:
            raise ValueError("It is blurred.")
        if found.content is None:
            return "Not contained."
        is_green = colour_of(found.content()) == near(GREEN)
        return f"Picture {found.number} is {'green' if is_green else 'blue'}."


@pytest.fixture
def looking(settings):
    settings.INGESTION_PROGRESS_DESCRIBER = f"{__name__}.LookingDescriber"
    LookingDescriber.seconds, LookingDescriber.fails = 0.0, set()
    LookingDescriber.described.clear()
    LookingDescriber.finished.clear()
    LookingDescriber.at_once.clear()
    return LookingDescriber


def page_with(*colours) -> bytes:
    images = "".join(
        f"<img src='{address(picture(colour, (50, 40 + n)))}'>" for n, colour in enumerate(colours)
    )
    return f"<p>Bees make honey.</p>{images}<img src='far.png' alt='Far'>".encode()


@pytest.mark.usefixtures("storage")
@pytest.mark.django_db(transaction=True)
class TestDescribing:
    def test_pictures_are_described_in_threads_and_stored_in_their_order(self, looking):
        looking.seconds = 0.05
        job = ingested(page_with(GREEN, BLUE, GREEN), "a.html")
        texts = {hit.chunk_id: hit.text for hit in search("picture is green blue")}
        assert texts["i-1"] == "Picture 1 is green."
        assert texts["i-2"] == "Picture 2 is blue."
        assert texts["i-3"] == "Picture 3 is green."
        assert sorted(looking.described) == [1, 2, 3, 4]
        assert len(looking.at_once) == 3
        assert (job.total_images, job.failed_items) == (4, 0)

    def test_any_exception_costs_one_picture_until_a_retry(self, looking):
        looking.fails = {2}
        job = ingested(page_with(GREEN, BLUE), "a.html")
        assert (job.result, job.failed_items) == ("partial", 1)
        assert job.events.filter(level="error", stage="vlm").get().message == "It is blurred."
        looking.fails = set()
        looking.described.clear()
        retry_job(job.pk, only="failed")
        ingest(job.pk)
        job.refresh_from_db()
        assert (job.result, looking.described) == ("succeeded", [1, 2, 3])

    def test_a_slow_describer_does_not_delay_a_cancellation(self, looking):
        looking.seconds = 5.0
        job = queued(page_with(GREEN), "a.html")

        def cancel() -> None:
            request_cancellation(job.pk)
            connections.close_all()

        threading.Timer(0.5, cancel).start()
        with pytest.raises(JobCancelled):
            ingest(job.pk)
        assert not looking.finished
