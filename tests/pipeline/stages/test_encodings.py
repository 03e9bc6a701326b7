"""Texts in other encodings than UTF-8: declared, marked, or to be guessed."""

from __future__ import annotations

import codecs
import io

import pytest

from ingestion_progress.pipeline.encodings import decode, is_binary
from ingestion_progress.pipeline.uploads.media_types import MediaType, media_type_of

TEXTS = {
    "cp1252": "Les phares de la côte étaient gardés. Où sont-ils allés ? À l’école, bien sûr.",
    "cp1250": "Latarnia morska stała na wybrzeżu przez wiele lat i świeciła „rybakom”.",
    "iso8859_2": "Příliš žluťoučký kůň úpěl ďábelské ódy. Maják stál na pobřeží.",
    "cp1251": "Старый маяк стоял у моря и светил рыбакам каждую ночь, пока не погас.",
    "koi8_r": "Старый маяк стоял у моря и светил рыбакам каждую ночь, пока не погас.",
    "cp1253": "Ο φάρος στεκόταν δίπλα στη θάλασσα και φώτιζε τους ψαράδες.",
    "shift_jis": "灯台は港の委員会が管理しています。コーヒーを飲みました。船は毎日来ます。",
    "euc_jp": "灯台は港の委員会が管理しています。コーヒーを飲みました。船は毎日来ます。" * 4,
    "euc_kr": "등대는 항구위원회가 관리한다. 배는 매일 온다. 어부들은 바다를 사랑한다.",
    "gbk": "灯塔每天夜里为渔民照明。守塔人把风向和浪高写在本子上。",
    "big5": "燈塔每天夜裡為漁民照明。守塔人把風向和浪高寫在本子上。",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_undeclared_encoding_is_guessed_with_a_warning(encoding: str):
    found = decode(TEXTS[encoding].encode(encoding))
    assert found.text == TEXTS[encoding]
    (warning,) = found.warnings
    assert warning.startswith("Its encoding is not declared. It was read as ")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "Grüße"),
        ("utf-8-sig", "Grüße"),
        ("utf-16", "Grüße"),
        ("utf-32", "Grüße"),
        ("utf-16-le", "Greetings from the lighthouse"),
        ("utf-16-be", "Greetings from the lighthouse"),
        ("iso2022_jp", "灯台は港の委員会が管理しています。"),
    ],
)
def test_encoding_that_the_bytes_show_needs_no_warning(encoding: str, text: str):
    data = text.encode(encoding)
    found = decode(data)
    assert (found.text.removeprefix("\ufeff"), found.warnings) == (text, ())
    assert not is_binary(data)


@pytest.mark.parametrize(
    "declaration",
    [
        "<meta charset={}>",
        "<META http-equiv='Content-Type' content='text/html; charset={}'>",
        "<?xml version='1.0' encoding='{}'?>",
    ],
)
@pytest.mark.parametrize(
    ("encoding", "name"),
    [("cp1251", "windows-1251"), ("shift_jis", "Shift_JIS"), ("gbk", "GB2312")],
)
def test_declared_encoding_is_used(declaration: str, encoding: str, name: str):
    source = f"{declaration.format(name)}<p>{TEXTS[encoding]}"
    found = decode(source.encode(encoding), is_markup=True)
    assert (found.text, found.warnings) == (source, ())


@pytest.mark.parametrize("name", ["utf-16", "no-such-encoding", "base64", "rot13", "ÿ"])
def test_false_declaration_is_ignored(name: str):
    source = f"<meta charset='{name}'><p>Grüße, schöne Straße"
    assert decode(source.encode(), is_markup=True).text == source


def test_stray_byte_costs_itself():
    data = TEXTS["cp1251"].encode() + b"\xff"
    found = decode(data)
    assert found.text == TEXTS["cp1251"] + "\ufffd"
    assert found.warnings == ("1 place is not valid UTF-8: what stood there is not known.",)


def test_few_letters_are_western():
    assert decode("Müller’s Café".encode("cp1252")).text == "Müller’s Café"


def test_some_control_characters_make_no_text_binary():
    assert not is_binary(b"Bees \x1b]0;owned\x07 make honey.")
    assert is_binary(bytes(range(256)) * 4)


def test_zeros_in_a_log_are_left_out():
    assert decode(b"started\n" + bytes(500) + b"ended\n").text == "started\nended\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.md", b"# How a PDF begins\n\nIts first line is `%PDF-1.7`."),
        ("a.txt", b"GIF89a is what the header says."),
        ("a.log", b"started" + bytes(3000) + b"ended"),
        ("a.txt", b"\n" * 10_000 + b"text"),
        ("a.txt", "Greetings from the lighthouse".encode("utf-16-le")),
        ("a.txt", codecs.BOM_UTF32_LE + "Grüße".encode("utf-32-le")),
    ],
)
def test_text_is_accepted_whatever_its_first_bytes_are(name: str, data: bytes):
    assert media_type_of(io.BytesIO(data), name) in {MediaType.TEXT, MediaType.MARKDOWN}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4])
def test_short_data_are_decoded(size: int):
    assert decode(b"\xff" * size).text is not None
