"""The generated files have the contract's interface and are up to date."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command
from pydantic import BaseModel

from ingestion_progress.management.commands import export_schema
from ingestion_progress.wire import typescript
from ingestion_progress.wire.events import STREAM_EVENTS
from tests.support.live import ROOT

# The interface that users rely on.
CONTRACT = (ROOT / "tests" / "web" / "contract.ts").read_text()
NAMES = (
    "labels.js",
    "markup.js",
    "openapi.json",
    "pipeline-progress.schema.json",
    "progress-events.d.ts",
    "styles.js",
    "words",
)


def without_comments(text):
    return re.sub(r"/\*\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


def interfaces(text):
    """The body of each interface in a declaration, by name."""
    return dict(re.findall(r"interface (\w+) (\{.*?\n\})", without_comments(text), re.DOTALL))


def fields(text):
    """The body of an interface as a list of tokens."""
    compact = re.sub(r";\s*\}", "}", text)
    return re.findall(r'"[^"]*"|\w+|[^\s\w]', compact)


def inlined(name, declared):
    """The body of an interface with the bodies of all interfaces that it names."""
    body = declared[name]
    for other in declared:
        if re.search(rf"\b{other}\b", body):
            body = re.sub(rf"\b{other}\b", lambda _, o=other: inlined(o, declared), body)
    return body


class TestDeclaration:
    def test_it_is_the_interface_of_the_contract_field_by_field(self):
        generated = interfaces(typescript.declaration())
        promised = interfaces(CONTRACT)
        # The contract's interface is nested; only the outer one has a name.
        outer = re.search(r"interface PipelineProgressData (\{.*?\n\})", CONTRACT, re.DOTALL)
        assert set(promised) == {"PipelineProgressData"}
        assert fields(inlined("PipelineProgressData", generated)) == fields(outer.group(1))

    def test_every_event_has_its_data_in_the_map(self):
        declared = interfaces(typescript.declaration())
        pairs = re.findall(r"(\w+): (\w+);", declared["ProgressEventMap"])
        assert pairs == [
            ("pipeline_progress", "PipelineProgressData"),
            ("forecast", "ForecastData"),
            ("job_state", "JobStateData"),
            ("next_attempt", "NextAttemptData"),
            ("complete", "CompleteData"),
            ("error", "ErrorData"),
            ("keepalive", "KeepaliveData"),
        ]
        assert [name for name, _ in pairs] == [event.name for event in STREAM_EVENTS]

    def test_every_name_that_is_used_is_declared(self):
        text = without_comments(typescript.declaration())
        declared = set(re.findall(r"export (?:interface|type) (\w+)", text))
        used = set(re.findall(r"\b[A-Z]\w+", re.sub(r'"[^"]*"', "", text)))
        assert used - declared == {"Array", "Record", "NonNullable"}

    def test_annotation_without_a_typescript_type_is_an_error(self):
        with pytest.raises(TypeError, match="set"):
            typescript.type_expression(set[int])

    def test_model_without_a_docstring_has_no_comment(self):
        class Bare(BaseModel):
            word: str

        assert typescript.interface(Bare) == "export interface Bare {\n  word: string;\n}\n"


class TestCommand:
    def test_committed_files_are_up_to_date(self):
        call_command("export_schema", "--check")

    def test_stale_and_missing_files_are_named_with_the_remedy(self, tmp_path):
        call_command("export_schema", folder=tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == list(NAMES)
        call_command("export_schema", check=True, folder=tmp_path)
        (tmp_path / NAMES[0]).write_text("{}")
        (tmp_path / NAMES[2]).unlink()
        with pytest.raises(CommandError) as caught:
            call_command("export_schema", check=True, folder=tmp_path)
        message = str(caught.value)
        assert NAMES[0] in message
        assert NAMES[2] in message
        assert NAMES[1] not in message
        assert "manage.py export_schema" in message
        assert (tmp_path / NAMES[0]).read_text() == "{}"

    def test_only_stale_files_are_written(self, tmp_path, capsys):
        call_command("export_schema", folder=tmp_path)
        stale = tmp_path / "pipeline-progress.schema.json"
        stale.write_text("{}")
        capsys.readouterr()
        call_command("export_schema", folder=tmp_path)
        assert capsys.readouterr().out == f"Wrote {stale}\n"
        assert json.loads(stale.read_text())["$schema"]
        call_command("export_schema", folder=tmp_path)
        assert capsys.readouterr().out == "All generated files are up to date.\n"

    def test_installed_app_needs_a_folder(self, tmp_path, monkeypatch):
        monkeypatch.setattr(export_schema, "CHECKOUT", tmp_path)
        with pytest.raises(CommandError, match="--folder"):
            call_command("export_schema")

    def test_check_of_a_stale_file_exits_with_1(self, tmp_path):
        done = subprocess.run(
            [sys.executable, "manage.py", "export_schema", "--check", "--folder", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "Stale: " in done.stderr
        assert not list(tmp_path.iterdir())
