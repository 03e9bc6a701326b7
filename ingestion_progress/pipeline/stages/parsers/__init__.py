"""One parser per media type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_progress.pipeline.uploads.media_types import MediaType

if TYPE_CHECKING:
    from ingestion_progress.pipeline.documents import Parser


def parser_for(media_type: str) -> Parser:
    """Imported on demand: a text file needs no PDF library. Raises ValueError."""
    match MediaType(media_type):
        case MediaType.PDF:
            from ingestion_progress.pipeline.stages.parsers.pdf import PdfParser

            return PdfParser()
        case MediaType.DOCX:
            from ingestion_progress.pipeline.stages.parsers.docx import DocxParser

            return DocxParser()
        case MediaType.HTML:
            from ingestion_progress.pipeline.stages.parsers.html import HtmlParser

            return HtmlParser()
        case MediaType.MARKDOWN:
            from ingestion_progress.pipeline.stages.parsers.markdown import MarkdownParser

            return MarkdownParser()
        case MediaType.TEXT:
            from ingestion_progress.pipeline.stages.parsers.text import TextParser

            return TextParser()
