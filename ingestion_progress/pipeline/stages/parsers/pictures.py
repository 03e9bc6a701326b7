"""Collects the pictures that a document contains or links to. Nothing is fetched."""

import base64
import binascii
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from PIL import Image, UnidentifiedImageError

from ingestion_progress.pipeline.stages import Picture

MAX_PICTURES = 2000
# Smaller pictures are spacers, bullets or tracking pixels.
MIN_PIXELS = 24
SVG = "data:image/svg+xml"
MAX_SOURCE_LENGTH = 200


class PictureFiles(Mapping[str, bytes]):
    """The first bytes of pictures by their `src` in HTML. They are read on access, because
    hundreds of them would fill the memory.
    """

    def content(self, source: str) -> bytes:
        """All bytes."""
        return self[source]

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class PictureList:
    """The pictures of one document, each once, in order."""

    def __init__(self) -> None:
        self._pictures: list[Picture] = []
        self._seen: set[str] = set()

    def as_tuple(self) -> tuple[Picture, ...]:
        return tuple(self._pictures)

    def add(self, source: str, *, width: int = 0, height: int = 0, **text: str) -> None:
        """Adds a picture by its address; a `data:` address contains it, or is left out."""
        if source in self._seen or len(self._pictures) >= MAX_PICTURES:
            return
        self._seen.add(source)
        if source.startswith("data:"):
            self._add_data(source, text)
            return
        path = _path_of(source)
        suffix = path.suffix.lstrip(".").upper()
        self._append(
            None,
            format={"JPG": "JPEG"}.get(suffix, suffix)[:16],
            width=width,
            height=height,
            source=path.name[:MAX_SOURCE_LENGTH],
            **text,
        )

    def _add_data(self, address: str, text: dict[str, str]) -> None:
        if address.startswith(SVG):  # Pillow cannot read it
            self._append(None, format="SVG", width=0, height=0, **text)
            return
        image_format, width, height = image_header(_data_of(address))
        if image_format:
            content = partial(_data_of, address)
            self._append(content, format=image_format, width=width, height=height, **text)

    def add_file(self, head: bytes, content: Callable[[], bytes], **text: str) -> None:
        """Adds a picture by the first bytes of its file. `content` reads all of it."""
        image_format, width, height = image_header(head)
        self._append(content, format=image_format, width=width, height=height, **text)

    def _append(
        self,
        content: Callable[[], bytes] | None,
        *,
        width: int,
        height: int,
        **known: Any,
    ) -> None:
        if 0 < width < MIN_PIXELS or 0 < height < MIN_PIXELS:
            return
        count = len(self._pictures)
        reference = count if content else None
        self._pictures.append(
            Picture(
                number=count + 1,
                width=width,
                height=height,
                reference=reference,
                content=content,
                **known,
            )
        )


def image_header(data: bytes) -> tuple[str, int, int]:
    """Format, width and height in pixels; empty and 0 if the data is no picture."""
    try:
        with warnings.catch_warnings():
            # The number of pixels is harmless because they are never decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                return image.format or "", image.width, image.height
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError):
        return "", 0, 0


def _path_of(address: str) -> PurePosixPath:
    """The path of an address; the whole address if it is malformed."""
    try:
        return PurePosixPath(urlsplit(address).path if "//" in address else address)
    except ValueError:
        return PurePosixPath(address)


def _data_of(address: str) -> bytes:
    header, _, payload = address.partition(",")
    data = unquote_to_bytes(payload)
    if not header.endswith(";base64"):
        return data
    try:
        return base64.b64decode(data)
    except binascii.Error:
        return b""
