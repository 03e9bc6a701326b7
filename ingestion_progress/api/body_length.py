"""What the headers of a request say about the length of its body, before anything is read of it."""

from __future__ import annotations

import sys

# A number with more digits takes Python long to read, and is above any limit.
MAX_DIGITS = 19


def declared_bytes(content_length: str) -> int | None:
    """The number in a Content-Length header; None for anything else."""
    if not (content_length.isascii() and content_length.isdecimal()):
        return None
    return int(content_length) if len(content_length) <= MAX_DIGITS else sys.maxsize


def length_problem(
    content_length: str, *, is_chunked: bool, limit_bytes: int, must_declare: bool
) -> str:
    """A code of the API's errors, `too_large` or `length_required`; "" if the body may come.

    `content_length`: the header, "" without one; `is_chunked`: there is a Transfer-Encoding.
    """
    length = declared_bytes(content_length)
    if length is not None and length > limit_bytes:
        return "too_large"
    is_unknown = is_chunked or (content_length != "" and length is None)
    return "length_required" if must_declare and is_unknown else ""
