"""Parses pictures of text: PNG, JPEG and TIFF, whose frames are pages."""

import warnings
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    DocumentTooLarge,
    UnreadableImage,
    UnreadablePage,
)
from ingestion_progress.pipeline.stages import Page, Picture
from ingestion_progress.pipeline.stages.parsers import ocr
from ingestion_progress.pipeline.stages.parsers.picture_files import MAX_PIXELS, as_png


class ImageParser:
    def open(self, file: BinaryIO, name: str) -> "Frames":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(file)
                return Frames(image, getattr(image, "n_frames", 1))
        except Image.DecompressionBombError:
            raise DocumentTooLarge(
                f"“{name}” has too many pixels. Save it with a lower resolution."
            ) from None
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise DamagedDocument(
                f"“{name}” is damaged and cannot be opened. Save or download it again."
            ) from error


class Frames:
    def __init__(self, image: Image.Image, count: int) -> None:
        self._image, self._count = image, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> Page:
        number = index + 1 if self._count > 1 else None
        place = f"Page {number}" if number else "The picture"
        has_ocr = ocr.is_available()
        try:
            self._image.seek(index)
            width, height = self._image.size
            if width * height > MAX_PIXELS:
                raise UnreadablePage(f"{place} has too many pixels and was left out.")
            text = ocr.text_of(ImageOps.exif_transpose(self._image)) if has_ocr else ""
        except (EOFError, OSError, ValueError, SyntaxError) as error:
            raise UnreadablePage(f"{place} is damaged and was left out.") from error
        picture = Picture(
            number=index + 1,
            page=number,
            format=self._image.format or "",
            width=width,
            height=height,
            reference=0,
        )
        unread = "" if has_ocr else f"{place} may show words. {ocr.INSTALL}"
        return Page(number=number, text=text, pictures=(picture,), unread=unread)

    def picture(self, index: int, reference: int) -> bytes:
        """The frame at `index`; its `reference` is 0."""
        if reference:
            raise UnreadableImage("The picture is not where it was.")
        self._image.seek(index)
        if self._image.width * self._image.height > MAX_PIXELS:
            raise UnreadableImage("The picture has too many pixels to be looked at.")
        return as_png(ImageOps.exif_transpose(self._image))
