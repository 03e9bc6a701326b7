"""What schemathesis cannot make up: a document to ingest. `schemathesis.toml` names this file."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies

from tests.documents import pdf

schemathesis.openapi.format("binary", strategies.just(pdf(1)))
