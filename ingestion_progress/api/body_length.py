"""The length of a request's body according to its headers, before the body is read."""

import sys

from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.wire.asgi_types import Scope

# Python parses longer numbers slowly, and they exceed any limit.
MAX_DIGITS = 19


def declared_bytes(content_length: str) -> int | None:
    """The number in a Content-Length header; None for anything else."""
    if not (content_length.isascii() and content_length.isdecimal()):
        return None
    return int(content_length) if len(content_length) <= MAX_DIGITS else sys.maxsize


def length_error(
    content_length: str, *, is_chunked: bool, limit_bytes: int, must_declare: bool
) -> ErrorCode | None:
    """TOO_LARGE or LENGTH_REQUIRED; None if the body may be read.

    `content_length`: the header, "" without one; `is_chunked`: there is a Transfer-Encoding.
    """
    length = declared_bytes(content_length)
    if length is not None and length > limit_bytes:
        return ErrorCode.TOO_LARGE
    is_unknown = is_chunked or (content_length != "" and length is None)
    return ErrorCode.LENGTH_REQUIRED if must_declare and is_unknown else None


def may_have_body(scope: Scope) -> bool:
    """May the request have a body, according to its headers?"""
    if not scope.get("http_version", "1.1").startswith("1"):
        return True  # HTTP/2 frames bodies without a header that announces them
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0")
        for name, value in scope["headers"]
    )
