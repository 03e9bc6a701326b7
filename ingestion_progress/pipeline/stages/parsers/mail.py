"""Parses messages (EML) and web archives (MHTML): headers, texts and the names of attachments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from email import policy
from email.header import decode_header
from email.message import EmailMessage
from email.parser import BytesParser
from html import escape
from typing import BinaryIO

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.encodings import decode
from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    EmptyDocument,
    ProtectedDocument,
)
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.html import TOO_DEEP, body_of, html_page

HEADERS = ("From", "To", "Cc", "Date")
ENCRYPTED = {"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}
SIGNATURES = {"application/pgp-signature", "application/pkcs7-signature"}
SIGNATURES |= {"application/x-pkcs7-signature"}
# With those that are attached to the first one.
MAX_MESSAGES = 100
# What Python's parser of headers raises for malformed ones.
MALFORMED = (ValueError, LookupError, AttributeError, TypeError, AssertionError, RecursionError)


class MailParser:
    """A message is a page, and so is each message that is attached to it."""

    def open(self, file: BinaryIO, name: str) -> list[Page]:
        file.seek(0)
        try:
            message = BytesParser(EmailMessage, policy=policy.default).parsebytes(file.read())
            pages = [_page(each, name) for each in _messages(message)]
        except RecursionError as error:
            raise DamagedDocument(TOO_DEEP) from error
        pages = [page for page in pages if page.text or page.pictures or page.warnings]
        if not pages:
            raise EmptyDocument(StoredSentence("“%(name)s” has no text.", name=name))
        if len(pages) == 1:
            return pages
        return [replace(page, number=number) for number, page in enumerate(pages, start=1)]


def html_of(data: bytes) -> str:
    """The texts of a web archive as HTML."""
    message = BytesParser(EmailMessage, policy=policy.default).parsebytes(data)
    return "".join(_text(part) for part in _parts(message) if _is_text(part))


def _messages(message: EmailMessage) -> Iterator[EmailMessage]:
    waiting = [message]
    for _ in range(MAX_MESSAGES):
        if not waiting:
            return
        message = waiting.pop(0)
        yield message
        waiting += [
            inner
            for part in _parts(message)
            if part.get_content_type() == "message/rfc822"
            for inner in part.iter_parts()
            if isinstance(inner, EmailMessage)
        ]


def _page(message: EmailMessage, name: str) -> Page:
    if message.get_content_type() in ENCRYPTED:
        raise ProtectedDocument(
            StoredSentence(
                "“%(name)s” is encrypted. Save the message without encryption and try again.",
                name=name,
            )
        )
    warnings = []
    pictures: dict[str, bytes] = {}
    blocks = [_headers(message)]
    for part in _parts(message):
        file_name = _file_name(part)
        if _is_text(part):
            blocks += [_paragraph(file_name)] if file_name else []
            blocks.append(_text(part))
        elif part.get_content_maintype() == "image":
            blocks.append(_picture(part, file_name, pictures))
        elif part.get_content_type() not in SIGNATURES | {"message/rfc822"}:
            shown = file_name or part.get_content_type()
            blocks.append(_paragraph(f"Attachment: {shown}"))
            warnings.append(
                StoredSentence(
                    "The attachment “%(name)s” was left out: save it and ingest it, too.",
                    name=shown,
                )
            )
    page = html_page("".join(blocks), pictures)
    return replace(page, warnings=tuple(warnings))


def _parts(message: EmailMessage) -> Iterator[EmailMessage]:
    """What is not made of other parts; of alternatives the HTML, or else the last one."""
    waiting = [message]
    while waiting:
        part = waiting.pop(0)
        if not part.is_multipart() or part.get_content_type() == "message/rfc822":
            yield part
            continue
        inner = [each for each in part.iter_parts() if isinstance(each, EmailMessage)]
        if part.get_content_type() == "multipart/alternative" and inner:
            html = (each for each in inner if _has_html(each))
            inner = [next(html, inner[-1])]
        waiting[:0] = inner


def _has_html(message: EmailMessage) -> bool:
    return any(part.get_content_type() == "text/html" for part in message.walk())


def _is_text(part: EmailMessage) -> bool:
    """Is it a text? A part that claims to have parts and has none is one, too."""
    return part.get_content_maintype() in {"text", "multipart"}


def _headers(message: EmailMessage) -> str:
    subject = _header(message, "Subject")
    heading = f"<h1>{escape(subject, quote=False)}</h1>" if subject else ""
    values = ((name, _header(message, name)) for name in HEADERS)
    return heading + "".join(_paragraph(f"{name}: {value}") for name, value in values if value)


def _header(message: EmailMessage, name: str) -> str:
    """The header as written, with the comments that name the senders of old messages.

    Empty if it is missing or malformed.
    """
    raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
    # Bytes that should have been encoded are surrogates.
    text = decode(str(raw).encode("ascii", "surrogateescape")).text
    try:
        pieces = decode_header(" ".join(text.split()))
        return _plain("".join(_decoded_piece(piece, charset) for piece, charset in pieces))
    except MALFORMED:
        return ""


def _decoded_piece(piece: str | bytes, charset: str | None) -> str:
    """`decode_header` returns what is not encoded in this encoding, if other pieces are encoded."""
    if isinstance(piece, str):
        return piece
    return piece.decode(charset or "raw-unicode-escape", "replace")


def _file_name(part: EmailMessage) -> str:
    try:
        return _plain(part.get_filename())
    except MALFORMED:
        return ""


def _plain(value: object) -> str:
    return " ".join(str(value or "").encode("utf-8", "replace").decode().split())


def _text(part: EmailMessage) -> str:
    text = _decoded(part)
    if part.get_content_subtype() == "html":
        return f"<div>{body_of(text)}</div>"
    paragraphs = escape(text, quote=False).replace("\r\n", "\n").split("\n\n")
    return "".join(f"<p>{paragraph.replace(chr(10), '<br>')}</p>" for paragraph in paragraphs)


def _decoded(part: EmailMessage) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return ""
    try:
        return data.decode(part.get_content_charset(""))
    except (LookupError, ValueError):  # unknown, not declared, or false
        return decode(data, is_markup=True).text


def _picture(part: EmailMessage, name: str, pictures: dict[str, bytes]) -> str:
    """A picture that has an id is shown by the HTML."""
    data = part.get_payload(decode=True)
    key = _header(part, "Content-ID").strip("<>")
    source = f"cid:{key or len(pictures)}"
    pictures[source] = data if isinstance(data, bytes) else b""
    return "" if key else f'<img src="{escape(source)}" alt="{escape(name)}">'


def _paragraph(text: str) -> str:
    return f"<p>{escape(text, quote=False)}</p>"
