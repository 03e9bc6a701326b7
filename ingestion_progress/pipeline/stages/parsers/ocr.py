"""Reads the words in pictures with RapidOCR, which contains its models: the extra `ocr`."""

from functools import cache
from importlib.util import find_spec
from typing import Any

from PIL import Image

INSTALL = "Install django-ingestion-progress[ocr] on the workers to read it."
# Points an inch: the models find small print, and need 0.7 GB of memory for a large page.
DPI = 150
MAX_SIDE_PIXELS = 2600
# Of its own estimate, from 0 to 1: less is mostly texture.
MIN_SCORE = 0.5


def is_available() -> bool:
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


def text_of(image: Image.Image) -> str:
    """Lines from the top to the bottom; empty if there are no words."""
    image = image.convert("RGB")
    image.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
    found = _engine()(image)
    lines = zip(found.txts or (), found.scores or (), strict=True)
    return "\n".join(text for text, score in lines if score >= MIN_SCORE)


@cache
def _engine() -> Any:
    """Loaded with the first picture of a document: it takes two seconds."""
    from rapidocr import RapidOCR

    return RapidOCR(params={"Global.log_level": "critical"})
