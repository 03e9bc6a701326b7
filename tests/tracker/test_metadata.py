"""What metadata of a job may contain."""

from __future__ import annotations

import pytest

from ingestion_progress.exceptions import InvalidMetadata
from ingestion_progress.tracker.metadata import MAX_METADATA_BYTES, clean_metadata, metadata_of


def nested(levels: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(levels - 1):
        value = {"inner": value}
    return value


def test_json_values_are_copied():
    given = {"team": "legal", "tags": ["a", 1, 2.5, None, True], "nested": {"ä": "ö"}}
    copied = clean_metadata(given)
    assert copied == given
    assert copied["tags"] is not given["tags"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"at": object()}, "'at' is not JSON"),
        ({1: "one"}, "'1' is not JSON"),
        ({"n": float("nan")}, "cannot express"),
        ({"text": "\ud800"}, "cannot express|not JSON"),
        ({"text": "a\0b"}, "NUL"),
        ({"a\0": 1}, "NUL"),
        ("text", "cannot express"),
        ({"text": "x" * MAX_METADATA_BYTES}, "the limit is 4096"),
        ({"text": "ä" * (MAX_METADATA_BYTES // 2)}, "the limit is 4096"),
        (nested(6), "deeper than 5"),
        ({"lists": [[[[[]]]]]}, "deeper than 5"),
        ({"list": ["flat", nested(4)]}, "deeper than 5"),
    ],
)
def test_anything_else_is_refused_with_its_reason(value, problem):
    with pytest.raises(InvalidMetadata, match=problem):
        clean_metadata(value)


def test_metadata_that_is_too_deep_for_the_stack_is_refused_too():
    with pytest.raises(InvalidMetadata, match="deeper than 5"):
        clean_metadata(nested(100_000))


def test_the_limits_themselves_are_allowed():
    for value in (nested(5), {"lists": [[[[]]]]}, {"list": ["flat", nested(3)]}):
        assert clean_metadata(value) == value
    text = "x" * (MAX_METADATA_BYTES - len('{"text": ""}'))
    assert clean_metadata({"text": text}) == {"text": text}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (" \n", None),
        ("{}", {}),
        (' {"a": [1]}\n', {"a": [1]}),
        ("{}" + " " * (2 * MAX_METADATA_BYTES - 2), {}),
    ],
)
def test_typed_text_is_an_object_or_nothing(text, expected):
    assert metadata_of(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "it is not JSON"),
        ("[" * 8000, "it is not JSON"),
        ("[1]", "it is not an object"),
        ("null", "it is not an object"),
        ("{}" + " " * (2 * MAX_METADATA_BYTES - 1), "it has 8193 characters"),
        ('{"a": NaN}', "cannot express"),
    ],
)
def test_typed_text_that_is_no_metadata_is_refused(text, problem):
    with pytest.raises(InvalidMetadata, match=problem):
        metadata_of(text)
