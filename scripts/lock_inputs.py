"""Prints a digest of the dependencies in pyproject.toml, from which the locks are made."""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from pathlib import Path

pyproject = tomllib.loads(Path("pyproject.toml").read_text())
project = pyproject["project"]
inputs = {
    "python": project["requires-python"],
    "app": project["dependencies"],
    "extras": project["optional-dependencies"],
    "groups": pyproject["dependency-groups"],
}
sys.stdout.write(hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest() + "\n")
