"""Parses pictures of text: PNG, JPEG and TIFF, whose frames are pages."""

import warnings
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    DocumentTooLarge,
    UnreadableImage,
    UnreadablePage,
)
from ingestion_progress.pipeline.stages import Page, Picture
from ingestion_progress.pipeline.stages.parsers import ocr
from ingestion_progress.pipeline.stages.parsers.picture_files import MAX_PIXELS, as_png

# About a frame with a number, and about the only one.
TOO_LARGE = (
    StoredSentence("Page %(number)s has too many pixels and was left out."),
    StoredSentence("The picture has too many pixels and was left out."),
)
DAMAGED = (
    StoredSentence("Page %(number)s is damaged and was left out."),
    StoredSentence("The picture is damaged and was left out."),
)
UNREAD = (
    StoredSentence(
        "Page %(number)s may show words. Install django-ingestion-progress[ocr] on the workers to "
        "read it."
    ),
    StoredSentence(
        "The picture may show words. Install django-ingestion-progress[ocr] on the workers to read "
        "it."
    ),
)


class ImageParser:
    def open(self, file: BinaryIO, name: str) -> "Frames":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(file)
                return Frames(image, getattr(image, "n_frames", 1))
        except Image.DecompressionBombError:
            raise DocumentTooLarge(
                StoredSentence(
                    "“%(name)s” has too many pixels. Save it with a lower resolution.", name=name
                )
            ) from None
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise DamagedDocument(
                StoredSentence(
                    "“%(name)s” is damaged and cannot be opened. Save or download it again.",
                    name=name,
                )
            ) from error


def _sentence(sentences: tuple[str, str], number: int | None) -> str:
    """About a frame with a number, or about the only one."""
    of_page, of_picture = sentences
    return StoredSentence(of_page, number=number) if number else of_picture


class Frames:
    def __init__(self, image: Image.Image, count: int) -> None:
        self._image, self._count = image, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> Page:
        number = index + 1 if self._count > 1 else None
        has_ocr = ocr.is_available()
        try:
            self._image.seek(index)
            width, height = self._image.size
            if width * height > MAX_PIXELS:
                raise UnreadablePage(_sentence(TOO_LARGE, number))
            text = ocr.text_of(ImageOps.exif_transpose(self._image)) if has_ocr else ""
        except (EOFError, OSError, ValueError, SyntaxError) as error:
            raise UnreadablePage(_sentence(DAMAGED, number)) from error
        picture = Picture(
            number=index + 1,
            page=number,
            format=self._image.format or "",
            width=width,
            height=height,
            reference=0,
        )
        unread = "" if has_ocr else _sentence(UNREAD, number)
        return Page(number=number, text=text, pictures=(picture,), unread=unread)

    def picture(self, index: int, reference: int) -> bytes:
        """The frame at `index`; its `reference` is 0."""
        if reference:
            raise UnreadableImage(StoredSentence("The picture is not where it was."))
        self._image.seek(index)
        if self._image.width * self._image.height > MAX_PIXELS:
            raise UnreadableImage(
                StoredSentence("The picture has too many pixels to be looked at.")
            )
        return as_png(ImageOps.exif_transpose(self._image))
