"""Writes the files that are generated from the wire models and the API, or compares them."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

import ingestion_progress
from ingestion_progress.api.api import build_api
from ingestion_progress.wire.events import events_json_schema
from ingestion_progress.wire.typescript import declaration

PATH_PREFIX = "/api/v1/"
CHECKOUT = Path(ingestion_progress.__file__).resolve().parent.parent


class Command(BaseCommand):
    help = (
        "Generates docs/openapi.json, the JSON Schema of the events and their TypeScript "
        "declaration; with --check it only says whether they are up to date."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="Write nothing; exit with 1 if a file is stale."
        )
        parser.add_argument(
            "--folder",
            type=Path,
            help="Put the three files here, side by side; for a front end of your own.",
        )

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
    """The text of each file by its place in a checkout."""
    return {
        "docs/openapi.json": as_json(build_api().get_openapi_schema(path_prefix=PATH_PREFIX)),
        "docs/pipeline-progress.schema.json": as_json(events_json_schema()),
        "ingestion_progress/static/ingestion_progress/progress-events.d.ts": declaration(),
    }


def as_json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def path_of(name: str, folder: Path | None) -> Path:
    """Where a file belongs. Raises CommandError where the app was installed, not checked out."""
    if folder is not None:
        return folder / Path(name).name
    if not (CHECKOUT / "pyproject.toml").exists():
        raise CommandError("This is not a checkout; say with --folder where the files go.")
    return CHECKOUT / name


def is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text
