"""What texts of errors must not contain, and what messages have in common."""

import json

import pytest

from ingestion_progress.tracker.error_messages import (
    kind_of,
    pattern_of,
    without_folders,
    without_secrets,
)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgres://me:p@ss@db:5432/x is down", "postgres://***@db:5432/x is down"),
        ("https://token@host/a", "https://***@host/a"),
        ("Authorization: Digest username=a, response=b\nnext", "Authorization: ***\nnext"),
        ("{'Authorization': 'Bearer abc', 'Host': 'x'}", "{'Authorization': ***, 'Host': 'x'}"),
        ("Cookie: sessionid=abc; csrftoken=def", "Cookie: ***"),
        ("?password=hunter2&page=1", "?password=***&page=1"),
        ("OPENAI_API_KEY=abc is refused", "OPENAI_API_KEY=*** is refused"),
        ('{"client_secret": "a b", "id": 1}', '{"client_secret": ***, "id": 1}'),
        ("sent Bearer abcdef.ghi", "sent Bearer ***"),
        ("sent Basic dXNlcjpwYXNz", "sent Basic ***"),
        ("Basic authentication failed", "Basic authentication failed"),
        ("Incorrect key sk-proj-abcdefghijklmnop1234", "Incorrect key ***"),
        ("jwt eyJhbGciOi.eyJzdWIi.x-y expired", "jwt *** expired"),
        ("AKIAABCDEFGHIJKLMNOP may not", "*** may not"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- is bad",
            "*** is bad",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMII", "***"),
        ("Page 3 has no text layer: see the key 'a'", "Page 3 has no text layer: see the key 'a'"),
    ],
)
def test_secrets_are_hidden(text, clean):
    assert without_secrets(text) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("cannot open /srv/data/a.pdf", "cannot open a.pdf"),
        ("cannot open '/srv/my data/a b.pdf'", "cannot open 'a b.pdf'"),
        (r"C:\Users\me\a.txt is gone", "a.txt is gone"),
        ("file:///srv/x/y.pdf", "y.pdf"),
        ("https://host/a/b/c and 1/2/3 and/or this", "https://host/a/b/c and 1/2/3 and/or this"),
    ],
)
def test_folders_of_the_server_are_left_out(text, clean):
    assert without_folders(text) == clean


@pytest.mark.parametrize(
    ("texts", "pattern"),
    [
        (["Page 3 has no text", "Page 1,024 has no text"], "Page <n> has no text"),
        (["No “a b” here", "No 'c' here", 'No "d" here'], "No <name> here"),
        (["chunk c-12 failed", "chunk p3_i7 failed"], "chunk <id> failed"),
        (
            [
                "550e8400-e29b-41d4-a716-446655440000 is gone",
                "0xdeadbeef is gone",
                "d41d8cd98f00b204e9800998ecf8427e is gone",
            ],
            "<id> is gone",
        ),
        (["GET https://a/b?x=1 failed", "GET http://c failed"], "GET <url> failed"),
        (["no /srv/a/b.pdf", r"no C:\a\b"], "no <path>"),
        (["report-2.pdf is damaged.", "a.docx is damaged."], "<file> is damaged."),
        (["bad [1, 2, 3]", "bad [4]"], "bad [<n>]"),
        (["it doesn't work,\n can't it?"], "it doesn't work, can't it?"),
    ],
)
def test_variable_parts_are_replaced(texts, pattern):
    assert {pattern_of(text) for text in texts} == {pattern}


def test_class_of_an_exception_becomes_words():
    assert kind_of(json.JSONDecodeError("", "", 0)) == "json decode error"
    assert kind_of(TimeoutError()) == "timeout error"


def test_only_the_beginning_of_a_long_text_is_read():
    """The time of the expressions depends on the length."""
    assert len(without_secrets("x" * 10_000)) == 4000
