"""Whether a request may have a body."""

from __future__ import annotations

import pytest

from ingestion_progress.api.body_length import may_have_body


@pytest.mark.parametrize(
    ("version", "headers", "may"),
    [
        ("1.1", [], False),
        ("1.0", [(b"host", b"a")], False),
        ("1.1", [(b"content-length", b"0")], False),
        ("1.1", [(b"content-length", b" 0 ")], False),
        ("1.1", [(b"content-length", b"3")], True),
        ("1.1", [(b"host", b"a"), (b"transfer-encoding", b"chunked")], True),
        ("2", [], True),
        (None, [], False),
    ],
)
def test_headers_announce_a_body(version, headers, may):
    scope = {"headers": headers} | ({"http_version": version} if version else {})

    assert may_have_body(scope) is may
