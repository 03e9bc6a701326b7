"""Parses Server-Sent Events, each with the time at which it was complete."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ingestion_progress.management.doctor.http import Response

GZIP = 16 + zlib.MAX_WBITS
COMMENT = ":"


@dataclass(frozen=True, kw_only=True)
class Event:
    at: float
    name: str
    """COMMENT for a comment without data, such as a keep-alive."""
    id: str
    data: dict[str, Any]
    """Empty if it is not a JSON object."""


def events(response: Response) -> list[Event]:
    """The events that have arrived so far, up to the first byte that cannot be decompressed."""
    found, rest = [], b""
    for at, chunk in _decompressed(response):
        *blocks, rest = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
        found += [event for block in blocks if (event := _parse(block, at))]
    return found


def has_several_members(response: Response) -> bool:
    """Is the body more than one gzip member? Browsers read only the first."""
    decompressor = zlib.decompressobj(GZIP)
    try:
        decompressor.decompress(response.body)
    except zlib.error:
        return False
    return decompressor.eof and decompressor.unused_data != b""


def _decompressed(response: Response) -> Iterator[tuple[float, bytes]]:
    """Decompresses as browsers do: only the first gzip member, and no other encoding."""
    decompressor = zlib.decompressobj(GZIP)
    for at, chunk in list(response.chunks):
        try:
            yield at, decompressor.decompress(chunk) if response.encoding else chunk
        except zlib.error:
            return


def _parse(block: bytes, at: float) -> Event | None:
    fields: dict[str, str] = {}
    for line in filter(None, block.decode(errors="replace").split("\n")):
        name, _, value = line.partition(":")
        fields[name or COMMENT] = value.removeprefix(" ")
    if "data" in fields:
        name, event_id = fields.get("event", "message"), fields.get("id", "")
        return Event(at=at, name=name, id=event_id, data=_object(fields["data"]))
    # A block with only `retry:` is no event.
    return Event(at=at, name=COMMENT, id="", data={}) if COMMENT in fields else None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
