"""The project's settings on temporary data.

`TEST_DATABASE=postgresql` runs the suite on a temporary PostgreSQL instead of SQLite.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_var_dir = Path(tempfile.mkdtemp(prefix="ingestion-progress-tests-"))
atexit.register(shutil.rmtree, _var_dir, ignore_errors=True)
os.environ |= {"VAR_DIR": str(_var_dir), "ENV_FILE": str(_var_dir / "no.env"), "DEBUG": "true"}
os.environ.pop("DATABASE_URL", None)
if os.environ.get("TEST_DATABASE") == "postgresql":
    from tests.support.servers import postgresql

    os.environ["DATABASE_URL"] = postgresql().create_database()

from progress_project.settings import *  # noqa: E402, F403

DEBUG = False  # as Django's test runner has it
INGESTION_PROGRESS_PUBLIC = True
INGESTION_PROGRESS_RESCUING = False  # its thread would write beside the transactions of tests
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if "sqlite3" in DATABASES["default"]["ENGINE"]:  # noqa: F405
    # A file: threads of an in-memory database lock each other's tables.
    DATABASES["default"]["TEST"] = {"NAME": str(_var_dir / "tests.sqlite3")}  # noqa: F405
