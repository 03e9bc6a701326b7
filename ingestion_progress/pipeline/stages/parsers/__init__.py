"""One parser per media type."""

from django.utils.module_loading import import_string

from ingestion_progress.pipeline.stages import Parser
from ingestion_progress.pipeline.uploads.media_types import MediaType

PARSERS = {
    MediaType.PDF: "pdf.PdfParser",
    MediaType.DOCX: "docx.DocxParser",
    MediaType.HTML: "html.HtmlParser",
    MediaType.MARKDOWN: "markdown.MarkdownParser",
    MediaType.TEXT: "text.TextParser",
}


def parser_for(media_type: str) -> Parser:
    """Imports the parser on demand, because its libraries are large. Raises ValueError."""
    parser: Parser = import_string(f"{__name__}.{PARSERS[MediaType(media_type)]}")()
    return parser
