"""Pages of a PDF without text that can be read: pictures of words, or letters without names."""

import pypdfium2
from pypdfium2 import PdfiumError, raw

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.stages.parsers import ocr
from ingestion_progress.pipeline.stages.parsers.pictures import MIN_PIXELS

MAX_FORM_DEPTH = 4
POINTS_PER_INCH = 72


def words_of(page: pypdfium2.PdfPage, number: int, *, has_letters: bool) -> tuple[str, str]:
    """The words that OCR finds, and why words may be missing, as in `Page.unread`."""
    if ocr.is_available():
        return _recognised(page), ""
    if has_letters:
        reason = StoredSentence(
            "The fonts of page %(number)s do not say which letters they show. Install "
            "django-ingestion-progress[ocr] on the workers to read it.",
            number=number,
        )
    elif _has_picture(page):
        reason = StoredSentence(
            "Page %(number)s has no text, only pictures, which may show words. Install "
            "django-ingestion-progress[ocr] on the workers to read it.",
            number=number,
        )
    else:
        return "", ""
    return "", reason


def _recognised(page: pypdfium2.PdfPage) -> str:
    scale = ocr.DPI / POINTS_PER_INCH
    scale *= ocr.factor_of(*(side * scale for side in page.get_size()))
    return ocr.text_of(page.render(scale=scale).to_pil())


def _has_picture(page: pypdfium2.PdfPage) -> bool:
    """Larger than a logo's line or a bullet."""
    try:
        found = page.get_objects([raw.FPDF_PAGEOBJ_IMAGE], max_depth=MAX_FORM_DEPTH)
        return any(min(image.get_px_size()) >= MIN_PIXELS for image in found)
    except PdfiumError:
        return False
