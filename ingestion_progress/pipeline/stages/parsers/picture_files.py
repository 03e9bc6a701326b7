"""The pictures in a document, as files of bounded size for a model that looks at them."""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import UnreadableImage
from ingestion_progress.pipeline.stages import Pages, PicturePages

# Models scale larger pictures down.
MAX_SIDE_PIXELS = 1536
QUALITY = 85
# Decoded, a picture has three or four bytes for each.
MAX_PIXELS = 100_000_000
WHITE = (255, 255, 255)


def read_picture(pages: Pages, index: int, reference: int) -> bytes:
    """A JPEG of at most MAX_SIDE_PIXELS. Raises UnreadableImage."""
    if isinstance(pages, PicturePages):
        return scaled(pages.picture(index, reference))
    return scaled(_content(pages, index, reference))


def scaled(data: bytes) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImage(StoredSentence("A picture has too many pixels to be looked at."))
        image.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
        shown = _on_white(ImageOps.exif_transpose(image))
        buffer = io.BytesIO()
        shown.save(buffer, "JPEG", quality=QUALITY)
    except (
        *(UnidentifiedImageError, Image.DecompressionBombError),
        *(OSError, ValueError, SyntaxError, EOFError),
    ):
        raise UnreadableImage(
            StoredSentence("A picture is damaged or of an unknown format.")
        ) from None
    return buffer.getvalue()


def as_png(image: Image.Image) -> bytes:
    """Quickly, and not small."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _content(pages: Pages, index: int, reference: int) -> bytes:
    for picture in pages[index].pictures:
        if picture.reference == reference and picture.content:
            return picture.content()
    raise UnreadableImage(StoredSentence("A picture is not where it was."))


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    shown = Image.new("RGB", image.size, WHITE)
    shown.paste(image, mask=image.getchannel("A"))
    return shown
