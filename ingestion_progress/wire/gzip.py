"""Gzip that many clients share: each frame is deflated once, and for no client in particular.

A gzip member is a header, deflated blocks and a checksum (RFC 1952). A frame's blocks refer to
nothing before them and end on a whole byte, so they fit behind whatever a client has got already.
What is a client's own is the running checksum: a microsecond per frame, where a compressor per
client costs ten and 92 KiB of memory each.
"""

from __future__ import annotations

import struct
import zlib

# Deflate, no name, no time, an unknown system.
HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
LAST_BLOCK = b"\x03\x00"
RAW_DEFLATE = -15


def deflate(content: bytes) -> bytes:
    """Blocks that stand for themselves, ended by a full flush: what they say is decoded as soon as
    it arrives.
    """
    compressor = zlib.compressobj(wbits=RAW_DEFLATE)
    return compressor.compress(content) + compressor.flush(zlib.Z_FULL_FLUSH)


class GzipMember:
    """The body of one response, made of blocks that others get as well."""

    __slots__ = ("_checksum", "_has_begun", "_size")

    def __init__(self) -> None:
        self._checksum = zlib.crc32(b"")
        self._has_begun = False
        self._size = 0

    def add(self, content: bytes, deflated: bytes) -> bytes:
        """The bytes to send for a content whose blocks are known."""
        self._checksum = zlib.crc32(content, self._checksum)
        self._size += len(content)
        return self._begin() + deflated

    def end(self) -> bytes:
        """The last bytes: clients that check them find the body complete."""
        checks = struct.pack("<II", self._checksum, self._size & 0xFFFFFFFF)
        return self._begin() + LAST_BLOCK + checks

    def _begin(self) -> bytes:
        if self._has_begun:
            return b""
        self._has_begun = True
        return HEADER
