from __future__ import annotations

import io
from email.message import EmailMessage

import pytest

from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    EmptyDocument,
    ProtectedDocument,
)
from ingestion_progress.pipeline.stages import Page
from ingestion_progress.pipeline.stages.parsers.mail import html_of
from ingestion_progress.pipeline.uploads.media_types import MediaType, media_type_of
from tests.support.documents import png
from tests.support.parsers import parser_for


def message(text: str = "Dear Bo,\nthe bees\n\nare here.\n") -> EmailMessage:
    found = EmailMessage()
    found["From"] = "Änne <ann@example.com>"
    found["To"] = "Bo <bo@example.com>"
    found["Date"] = "Sun, 01 Nov 2026 12:00:00 +0000"
    found["Subject"] = "Grüße & honey"
    found.set_content(text)
    return found


HEADERS = (
    "# Grüße & honey\n\nFrom: Änne <ann@example.com>\n\nTo: Bo <bo@example.com>\n\n"
    "Date: Sun, 01 Nov 2026 12:00:00 +0000\n\n"
)


def read(data: bytes | EmailMessage) -> list[Page]:
    data = data if isinstance(data, bytes) else data.as_bytes()
    assert media_type_of(io.BytesIO(data), "a.eml") is MediaType.MAIL
    return list(parser_for(MediaType.MAIL).open(io.BytesIO(data), "a.eml"))


def test_headers_and_text_of_a_message_are_read():
    (page,) = read(message())
    assert page.text == HEADERS + "Dear Bo,\nthe bees\n\nare here."
    assert page.number is None
    assert media_type_of(io.BytesIO(message().as_bytes()), "a") is MediaType.MAIL


def test_html_is_preferred_and_its_pictures_are_found():
    source = message()
    source.add_alternative("<p>The <b>bees</b></p><img src='cid:a' alt='A bee'>", subtype="html")
    (html,) = (part for part in source.walk() if part.get_content_type() == "text/html")
    html.add_related(png(), "image", "png", cid="<a>")
    (page,) = read(source)
    assert page.text == HEADERS + "The bees"
    assert [(each.format, each.alt) for each in page.pictures] == [("PNG", "A bee")]


def test_attached_texts_are_read_and_other_attachments_are_named():
    source = message("Hello")
    source.add_attachment("Knot;10", filename="fees.csv")
    source.add_attachment(png(), "image", "png", filename="bee.png")
    source.add_attachment(b"%PDF-", "application", "pdf", filename="Entwurf ä.pdf")
    (page,) = read(source)
    assert page.text == HEADERS + "Hello\n\nfees.csv\n\nKnot;10\n\nAttachment: Entwurf ä.pdf"
    assert [each.alt for each in page.pictures] == ["bee.png"]
    assert page.warnings == (
        "The attachment “Entwurf ä.pdf” was left out: save it and ingest it, too.",
    )


def test_attached_message_is_a_page():
    outer = message("See below")
    outer.add_attachment(message("Below"))
    pages = read(outer)
    assert [(page.number, page.text) for page in pages] == [
        (1, HEADERS + "See below"),
        (2, HEADERS + "Below"),
    ]


@pytest.mark.parametrize(
    ("content_type", "data", "text"),
    [
        (b"text/plain; charset=windows-1251", "Маяк".encode("cp1251"), "Маяк"),
        (b"text/plain; charset=x-unknown", "Grüße".encode(), "Grüße"),
        (b"text/plain", "Grüße".encode(), "Grüße"),
        (b"text/html", b"<p>Open <script>x</script><b>bee", "Open bee"),
    ],
)
def test_charset_of_a_message_is_declared_or_found(content_type: bytes, data: bytes, text: str):
    source = b"MIME-Version: 1.0\nFrom: a\nContent-Transfer-Encoding: 8bit\nContent-Type: "
    (page,) = read(source + content_type + b"\n\n" + data)
    assert page.text == f"From: a\n\n{text}"


def test_names_in_headers_of_any_age_are_read():
    headers = "From: bo@example.com (Bo B.)\nSubject: Grüße\n =?iso-8859-1?q?=FCber?= Bienen\n\nHi"
    (page,) = read(headers.encode())
    assert page.text == "# Grüße über Bienen\n\nFrom: bo@example.com (Bo B.)\n\nHi"


@pytest.mark.parametrize(
    "headers",
    [
        b"From: =?x?q?=\nSubject: =?utf-8?b?!!!?=",
        b"Date: soon\nFrom: \xff\xfe <<>>;,",
        b"To: " + b"(" * 500,
    ],
)
def test_malformed_headers_do_not_affect_the_text(headers: bytes):
    (page,) = read(headers + b"\nContent-Type: text/plain; charset=\n\nThe bees")
    assert page.text.endswith("The bees")


def test_message_that_has_not_the_parts_that_it_declares_is_a_text():
    (page,) = read(b"From: a\nContent-Type: multipart/mixed\n\nThe bees")
    assert page.text == "From: a\n\nThe bees"


def test_hostile_nesting_is_read_or_refused():
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(2000)
    )
    with pytest.raises((DamagedDocument, EmptyDocument)):
        read(nested)


def test_encrypted_and_empty_messages_have_a_sentence():
    with pytest.raises(ProtectedDocument, match="is encrypted"):
        read(b"From: a\nContent-Type: application/pkcs7-mime\n\nabc")
    with pytest.raises(EmptyDocument):
        read(b"X-Nothing: 1\n\n\n")


def test_text_of_a_web_archive_is_html():
    archive = EmailMessage()
    archive.set_content("<p>Saved <b>page", subtype="html")
    assert "<p>Saved <b>page" in html_of(archive.as_bytes())
