"""One parser per media type."""

from django.utils.module_loading import import_string

from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.uploads.media_types import MediaType

PARSERS = {
    MediaType.PDF: "pdf.PdfParser",
    MediaType.DOCX: "docx.DocxParser",
    MediaType.PPTX: "pptx.PptxParser",
    MediaType.XLSX: "xlsx.XlsxParser",
    MediaType.HTML: "html.HtmlParser",
    MediaType.MARKDOWN: "markdown.MarkdownParser",
    MediaType.TEXT: "text.TextParser",
    MediaType.ODT: "odf.OdfTextParser",
    MediaType.ODP: "odf.OdfPresentationParser",
    MediaType.ODS: "odf.OdfSpreadsheetParser",
    MediaType.EPUB: "epub.EpubParser",
    MediaType.MAIL: "mail.MailParser",
    MediaType.RST: "restructured.RestructuredParser",
    MediaType.RTF: "rtf.RtfParser",
    MediaType.CSV: "tabular.TabularParser",
    MediaType.JSON: "json_text.JsonParser",
    MediaType.JSON_LINES: "json_text.JsonLinesParser",
    MediaType.NOTEBOOK: "json_text.NotebookParser",
    MediaType.XML: "xml_text.XmlParser",
    MediaType.PNG: "image.ImageParser",
    MediaType.JPEG: "image.ImageParser",
    MediaType.TIFF: "image.ImageParser",
}


def parser_path(media_type: str) -> str:
    """The dotted path of its class. Raises ValueError."""
    return conf.parsers.get(media_type) or f"{__name__}.{PARSERS[MediaType(media_type)]}"


def load_parsers() -> None:
    """Imports all parsers, whose libraries are large, instead of each with its first document."""
    for path in PARSERS.values():
        import_string(f"{__name__}.{path}")
