"""Server-Sent Events in what was read, each with the moment when it could be understood."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ingestion_progress.management.doctor.http import Reading

GZIP = 16 + zlib.MAX_WBITS
COMMENT = ":"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    at: float
    name: str
    """The event's, or COMMENT."""
    id: str
    data: dict[str, Any]
    """Empty where it has none, or none that can be read."""


def arrivals(reading: Reading) -> list[Arrival]:
    """Also of a stream that goes on; without what cannot be unpacked."""
    found, rest = [], b""
    for at, piece in _unpacked(reading):
        *blocks, rest = (rest + piece).replace(b"\r\n", b"\n").split(b"\n\n")
        found += [arrival for block in blocks if (arrival := _parsed(block, at))]
    return found


def has_several_members(reading: Reading) -> bool:
    """Is each piece a gzip file of its own? Browsers read the first."""
    unpacker = zlib.decompressobj(GZIP)
    try:
        unpacker.decompress(reading.body)
    except zlib.error:
        return False
    return unpacker.eof and unpacker.unused_data != b""


def _unpacked(reading: Reading) -> Iterator[tuple[float, bytes]]:
    """As a browser does it: of gzip, the first member."""
    pieces = list(reading.pieces)
    if not reading.encoding:
        yield from pieces
    if reading.encoding != "gzip":
        return
    unpacker = zlib.decompressobj(GZIP)
    for at, piece in pieces:
        try:
            yield at, unpacker.decompress(piece)
        except zlib.error:
            return


def _parsed(block: bytes, at: float) -> Arrival | None:
    lines = block.decode(errors="replace").split("\n")
    fields = dict(_field(line) for line in lines if line)
    if "data" not in fields:
        # `retry:` alone is no event.
        is_comment = COMMENT in fields
        return Arrival(at=at, name=COMMENT, id="", data={}) if is_comment else None
    return Arrival(
        at=at,
        name=fields.get("event", "message"),
        id=fields.get("id", ""),
        data=_object(fields["data"]),
    )


def _field(line: str) -> tuple[str, str]:
    if line.startswith(COMMENT):
        return COMMENT, line[1:]
    name, _, value = line.partition(":")
    return name, value.removeprefix(" ")


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
