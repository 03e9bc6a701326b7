"""Writes the files that are generated from the API, the wire models, the templates and enums."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, no_translations

import ingestion_progress
from ingestion_progress.api.api import build_api
from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.web.client_words import languages, languages_module, words_module
from ingestion_progress.web.javascript import labels_module, markup_module, styles_module
from ingestion_progress.wire.events import events_json_schema
from ingestion_progress.wire.typescript import declaration

STATIC = "ingestion_progress/static/ingestion_progress"
PATH_PREFIX = "/api/v1/"
CHECKOUT = Path(ingestion_progress.__file__).resolve().parent.parent


class Command(TerminalCommand):
    help = (
        "Generates docs/openapi.json, the JSON Schema of the events, their TypeScript declaration, "
        "and the markup, styles and labels of the live element; --check only compares them."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="Write nothing; exit with 1 if a file is stale."
        )
        parser.add_argument(
            "--folder",
            type=Path,
            help="Write all files into this folder, for another front end.",
        )

    @no_translations
    def handle(self, *, check: bool, folder: Path | None, **options: Any) -> None:
        files = {path_of(name, folder): text for name, text in generated_files().items()}
        stale = [path for path, text in files.items() if not is_current(path, text)]
        if check and stale:
            names = ", ".join(map(str, stale))
            raise CommandError(f"Stale: {names}. Run `manage.py export_schema` and commit.")
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
            self.stdout.write(f"Wrote {path}")
        if not stale:
            self.stdout.write("All generated files are up to date.")


def generated_files() -> dict[str, str]:
    """The text of each file by its path in a checkout."""
    return {
        "docs/openapi.json": as_json(build_api().get_openapi_schema(path_prefix=PATH_PREFIX)),
        "docs/pipeline-progress.schema.json": as_json(events_json_schema()),
        f"{STATIC}/progress-events.d.ts": declaration(),
        f"{STATIC}/labels.js": labels_module(),
        f"{STATIC}/markup.js": markup_module(),
        f"{STATIC}/styles.js": styles_module(),
        f"{STATIC}/words/languages.js": languages_module(),
        **{f"{STATIC}/words/{name}.js": words_module(name) for name in languages()},
    }


def as_json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def path_of(name: str, folder: Path | None) -> Path:
    """Where to write a file. Raises CommandError if the app is installed and not checked out."""
    if folder is not None:
        return folder / name.removeprefix("docs/").removeprefix(f"{STATIC}/")
    if not (CHECKOUT / "pyproject.toml").exists():
        raise CommandError("This is not a checkout: name a folder for the files with --folder.")
    return CHECKOUT / name


def is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text
