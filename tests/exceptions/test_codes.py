"""The catalogue of error codes: complete, and the only one."""

from __future__ import annotations

import ast
import re
from http import HTTPStatus
from typing import get_args

import pytest

from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.wire.schemas import ErrorEventData
from tests.support.live import ROOT

APP = ROOT / "ingestion_progress"
CATALOGUE = APP / "exceptions" / "codes.py"
# Its tables say how an operator fixes the cause of an error.
DOCTOR = APP / "management" / "doctor"
SOURCES = [path for path in APP.rglob("*.py") if path != CATALOGUE]
CODES = {code.value for code in ErrorCode}
NAMES = {code.name for code in ErrorCode}


def code_named_by(node: ast.expr | None) -> str:
    """The code of a string literal or of a member of ErrorCode; empty for anything else."""
    if isinstance(node, ast.Constant) and node.value in CODES:
        return node.value
    is_member = isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ErrorCode"
    return ErrorCode[node.attr].value if is_member and node.attr in NAMES else ""


def tables_of_codes(source: str) -> list[int]:
    """Lines of dict literals that map several codes to sentences or statuses."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Dict) and sum(bool(code_named_by(key)) for key in node.keys) > 1
    ]


def literal_codes(source: str) -> set[str]:
    """String literals in the place of a code: `code="x"`, `code == "x"`, `{"code": "x"}`."""
    found: list[ast.expr] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "code":
            found.append(node.value)
        elif isinstance(node, ast.Compare) and ast.unparse(node.left).split(".")[-1] == "code":
            found += node.comparators
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            found += [value for key, value in pairs if getattr(key, "value", None) == "code"]
    literals = {node.value for node in found if isinstance(node, ast.Constant)}
    return {text for text in literals if re.fullmatch("[a-z_]+", str(text))}  # SQLite's are upper


@pytest.mark.parametrize("code", ErrorCode, ids=str)
def test_every_code_has_a_name_a_status_and_a_sentence(code):
    assert code.name == code.value.upper()
    assert HTTPStatus(code.status) >= 400 or code.area == "stream"
    assert re.fullmatch(r"[A-Z][^“”\n]+\.", code.message)


def test_sentences_are_not_used_twice():
    messages = [code.message for code in ErrorCode if code is not ErrorCode.POLLER_FAILING]
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize("code", ErrorCode, ids=str)
def test_every_code_is_used(code):
    is_status = code.value in {status.value for status in JobStatus.final()}
    used = re.compile(rf"ErrorCode\.{code.name}\b")
    assert is_status or any(used.search(path.read_text()) for path in [*SOURCES, CATALOGUE])


def test_there_is_no_second_table_of_codes():
    for path in SOURCES:
        if DOCTOR not in path.parents:
            assert not tables_of_codes(path.read_text()), path


def test_second_table_would_be_found():
    assert tables_of_codes('REFUSALS = {"forbidden": "No.", "not_found": "None."}') == [1]
    assert tables_of_codes("X = {ErrorCode.FORBIDDEN: 403, ErrorCode.NOT_FOUND: 404}") == [1]
    assert not tables_of_codes('X = {"forbidden": "No."}')


def test_codes_that_are_written_out_are_in_the_catalogue():
    for path in SOURCES:
        assert literal_codes(path.read_text()) <= CODES, path
    for path in (APP / "static").rglob("*.js"):
        assert set(re.findall(r"\bcode [!=]== \"(\w+)\"", path.read_text())) <= CODES, path
    assert set(get_args(ErrorEventData.model_fields["code"].annotation)) <= CODES


def test_code_outside_the_catalogue_would_be_found():
    source = 'if error.code == "gone": refuse(code="away")\nbody = {"code": "lost", "x": "y"}'
    assert literal_codes(source) == {"gone", "away", "lost"}
