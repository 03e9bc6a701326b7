"""Decodes the bytes of a text, whose encoding may be declared, marked or unknown."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from charset_normalizer import from_bytes

from ingestion_progress.exceptions.sentences import StoredSentence

# UTF-32 first: its mark begins with that of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
DECLARATION = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{2,40})"""
    rb"""|<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{2,40})""",
    re.IGNORECASE,
)
DECLARATION_BYTES = 4096
# Browsers read these names as the larger encodings.
LARGER = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030"}
LARGER |= {"shift_jis": "cp932", "euc_kr": "cp949", "iso8859-9": "cp1254"}
LATIN = ["cp1252", "cp1250", "iso8859_2"]
COMMON = [*LATIN, "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257"]
COMMON += ["tis_620", "gb18030", "big5", "cp932", "euc_jp", "cp949"]
ASCII = bytes(range(128))
# Fewer letters outside of ASCII say nothing about the encoding.
MIN_LETTERS = 6
REPLACED = "\ufffd"
NOT_ASCII = re.compile("[^\\x00-\\x7f\ufffd]+")
ISO_2022 = re.compile(rb"\x1b\$[@B]|\x1b\(J")
SAMPLE_BYTES = 64 * 1024
CONTROLS = bytes(sorted({*range(32), 127} - set(b"\b\t\n\f\r\x1b")))
MAX_CONTROLS = 0.08  # compressed data have a tenth
MIN_ZEROS = 0.3
MAX_BROKEN = 0.1


@dataclass(frozen=True)
class Decoded:
    text: str
    warnings: tuple[str, ...] = ()
    """A sentence for the job's log, if letters may be wrong."""


def decode(data: bytes, *, is_markup: bool = False) -> Decoded:
    """By its mark; as UTF-8 if it is valid or nearly so; as declared; or as the likeliest one.

    `is_markup`: HTML or XML, which may declare its encoding.
    """
    declared = _declared(data) if is_markup else ""
    if certain := _certain_encoding(data, declared):
        return _decoded(data, certain)
    data = data.replace(b"\0", b"")
    text = data.decode(errors="replace")
    broken = text.count(REPLACED) - data.count(REPLACED.encode())
    if broken and declared not in {"", "utf-8"}:
        return _decoded(data, declared)
    if broken > MAX_BROKEN * sum(map(len, NOT_ASCII.findall(text))):
        return _guessed(data)
    return Decoded(text, _broken("utf-8", broken))


def _certain_encoding(data: bytes, declared: str) -> str:
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            return encoding
    if ISO_2022.search(data[:SAMPLE_BYTES]) and declared in {"", "iso2022_jp"}:
        return "iso2022_jp"
    return _wide_encoding(data)


def is_binary(data: bytes) -> bool:
    """Does the beginning of a file look like no text in any encoding?"""
    if data.startswith(tuple(MARKS)) or _wide_encoding(data):
        return False
    rest = data.replace(b"\0", b"")
    return len(rest) - len(rest.translate(None, CONTROLS)) > MAX_CONTROLS * len(rest)


def _declared(data: bytes) -> str:
    """The name of a known encoding; empty if there is none."""
    found = DECLARATION.search(data[:DECLARATION_BYTES])
    if found is None:
        return ""
    try:
        name = codecs.lookup((found[1] or found[2]).decode("ascii")).name
        "".encode(name)
    except (LookupError, ValueError):  # unknown, or not an encoding of text
        return ""
    # The declaration is written in ASCII, so it cannot be in one of these.
    return "" if name.startswith(("utf-16", "utf-32", "utf-7")) else LARGER.get(name, name)


def _wide_encoding(data: bytes) -> str:
    """UTF-16 without a mark has a 0 in every other byte of Latin letters."""
    sample = data[: SAMPLE_BYTES & ~1]
    half = len(sample) // 2
    if half < 2:
        return ""
    even, odd = sample[::2].count(0) / half, sample[1::2].count(0) / half
    if odd > MIN_ZEROS > 10 * even:
        return "utf-16-le"
    return "utf-16-be" if even > MIN_ZEROS > 10 * odd else ""


def _decoded(data: bytes, encoding: str) -> Decoded:
    text = data.decode(encoding, errors="replace")
    return Decoded(text, _broken(encoding.removesuffix("-sig"), text.count(REPLACED)))


def _broken(encoding: str, count: int) -> tuple[str, ...]:
    if not count:
        return ()
    name = encoding.upper()
    if count == 1:
        return (
            StoredSentence(
                "1 place is not valid %(encoding)s: what stood there is not known.", encoding=name
            ),
        )
    return (
        StoredSentence(
            "%(number)s places are not valid %(encoding)s: what stood there is not known.",
            number=count,
            encoding=name,
        ),
    )


def _guessed(data: bytes) -> Decoded:
    encoding = _likeliest(data[:SAMPLE_BYTES])
    text = data.decode(encoding, errors="replace")
    return Decoded(
        text,
        (
            StoredSentence(
                "Its encoding is not declared. It was read as %(encoding)s.",
                encoding=encoding.upper(),
            ),
        ),
    )


def _likeliest(sample: bytes) -> str:
    if len(sample.translate(None, ASCII)) < MIN_LETTERS:
        return LATIN[0]
    matches = list(from_bytes(sample, cp_isolation=COMMON))  # best first
    found = {match.encoding: match.chaos for match in matches}
    if matches and matches[0].encoding not in LATIN:
        return matches[0].encoding
    likely = [name for name in LATIN if found.get(name, 1) <= min(found.values(), default=1)]
    # Their letters differ in few places, where the wrong one has symbols.
    return max(likely or LATIN[:1], key=lambda name: _letters(sample.decode(name, "replace")))


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))
