"""Reads the words in pictures with RapidOCR, which contains its models: the extra `ocr`."""

import math
import re
from functools import cache
from importlib.util import find_spec
from typing import Any

from PIL import Image

# The models find small print.
DPI = 150
# RapidOCR makes larger pictures smaller. A page of this area needs 0.75 GB of memory.
MAX_SIDE_PIXELS = 2000
MAX_PIXELS = 2_800_000
# The least score that OCR gives to words, from 0 to 1: less is mostly texture.
MIN_SCORE = 0.5
# The texts of exceptions of ONNX Runtime.
OUT_OF_MEMORY = re.compile("bad_alloc|allocate memory")


def is_available() -> bool:
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


def text_of(image: Image.Image) -> str:
    """Lines from the top to the bottom; empty if there are no words. Raises MemoryError."""
    factor = factor_of(*image.size)
    image = image.convert("RGB").resize([max(1, int(side * factor)) for side in image.size])
    try:
        found = _engine()(image)
    except Exception as error:
        if OUT_OF_MEMORY.search(str(error)):
            raise MemoryError from error
        raise
    lines = zip(found.txts or (), found.scores or (), strict=True)
    return "\n".join(text for text, score in lines if score >= MIN_SCORE)


def factor_of(width: float, height: float) -> float:
    """By which a picture of this size in pixels is made smaller, at most 1."""
    side, area = max(width, height, 1), max(width * height, 1)
    return min(1.0, MAX_SIDE_PIXELS / side, math.sqrt(MAX_PIXELS / area))


@cache
def _engine() -> Any:
    """Loaded with the first picture of a document: it takes two seconds."""
    from rapidocr import RapidOCR

    # Several lines at once need more memory, and are not faster.
    return RapidOCR(params={"Global.log_level": "critical", "Rec.rec_batch_num": 1})
