"""The project's settings: from the environment, documented, and plain about what is wrong."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ingestion_progress.conf import AppSettings, Setting
from ingestion_progress.pipeline.conf import PipelineSettings
from progress_project.environment import DECIDED_IN_CODE, database
from tests.support.live import ROOT

EXAMPLE = (ROOT / ".env.example").read_text()
GUIDE = (ROOT / "docs/settings.md").read_text()
DOCUMENTED = set(re.findall(r"^### ([A-Z0-9_]+)$", GUIDE, re.MULTILINE))
EXAMPLES = dict(re.findall(r"^# ([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))

SHOW = """
import json
from progress_project import settings
shown = {name: value for name, value in vars(settings).items() if name.isupper()}
print(json.dumps(shown | {"asked": sorted(settings.env.names_read)}, default=str))
"""
MANAGE_CHECK = """
import runpy, sys
sys.argv = ["manage.py", "check"]
runpy.run_path("manage.py", run_name="__main__")
"""


def run(folder: Path, source: str = SHOW, **env: str) -> subprocess.CompletedProcess[str]:
    """Python with the project's settings and nothing but `env` in the environment."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        cwd=ROOT,
        env={
            **{name: os.environ[name] for name in os.environ if name.startswith(("PATH", "COV"))},
            "DJANGO_SETTINGS_MODULE": "progress_project.settings",
            "ENV_FILE": str(folder / ".env"),
            "VAR_DIR": str(folder / "var"),
        }
        | env,
        capture_output=True,
        text=True,
        check=False,
    )


def deployed(folder: Path, **env: str) -> dict[str, Any]:
    """The settings by name, and under `asked` the variables that were read."""
    done = run(folder, **env)
    assert not done.returncode, done.stderr
    return dict(json.loads(re.sub(r" at 0x\w+", "", done.stdout)))


def test_env_example_lists_exactly_what_the_settings_read(tmp_path):
    assert set(EXAMPLES) | {"ENV_FILE"} == set(deployed(tmp_path)["asked"])


def test_every_value_in_env_example_is_the_default(tmp_path):
    defaults = deployed(tmp_path)
    shown = {name: value for name, value in EXAMPLES.items() if name != "VAR_DIR"}
    with_values = deployed(tmp_path, **shown)
    assert {name for name, value in with_values.items() if defaults.get(name) != value} <= {
        # Unset without the example, so that `conf` has the default: the next test compares them.
        f"INGESTION_PROGRESS_{name}"
        for name in shown
    }


@pytest.mark.parametrize("conf", [AppSettings, PipelineSettings])
def test_every_default_of_the_app_in_env_example_is_its_own(conf, settings):
    for name in dir(conf):
        shown = EXAMPLES.get(name.removeprefix("is_").upper())
        if shown and name not in {"is_public", "is_rescuing"}:  # tests.settings changes them
            value = getattr(conf(), name)
            if isinstance(value, bool):
                assert shown == str(value).lower(), name
            else:
                assert type(value)(shown) == value, name


def test_every_setting_has_a_heading(tmp_path):
    names = {
        member.name
        for conf in (AppSettings, PipelineSettings)
        for member in vars(conf).values()
        if isinstance(member, Setting)
    }
    assert set(EXAMPLES) | names == DOCUMENTED
    assert names - set(EXAMPLES) == DECIDED_IN_CODE


def test_env_file_counts_unless_the_environment_has_the_variable(tmp_path):
    (tmp_path / ".env").write_text("PORT=9001\nHOST=127.0.0.2\nKEEPALIVE_SECONDS=3\n")
    found = deployed(tmp_path, HOST="127.0.0.3")
    assert (found["PORT"], found["HOST"]) == (9001, "127.0.0.3")
    assert found["INGESTION_PROGRESS_KEEPALIVE_SECONDS"] == 3


def test_pairs_are_read_from_a_variable(tmp_path):
    found = deployed(tmp_path, PARSERS="text/plain=a.B, text/html = c.D")
    assert found["INGESTION_PROGRESS_PARSERS"] == {"text/plain": "a.B", "text/html": "c.D"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("THROTLE_SECONDS", "Did you mean THROTTLE_SECONDS?"),
        ("INGESTION_PROGRESS_THROTTLE_SECONDS", "Did you mean THROTTLE_SECONDS?"),
        ("throttle_seconds", "Did you mean THROTTLE_SECONDS?"),
        ("SECRETKEY_FILE", "Did you mean SECRET_KEY?"),
        ("FAVOURITE_COLOUR", ".env.example lists all names."),
    ],
)
def test_unknown_name_in_the_env_file_is_a_warning_with_a_suggestion(tmp_path, name, hint):
    (tmp_path / ".env").write_text(f"{name}=3\n")
    done = run(tmp_path, MANAGE_CHECK)
    assert done.returncode == 0
    assert f"(progress_project.W001) {tmp_path}/.env: {name} is unknown." in done.stderr
    assert f"HINT: {hint}" in done.stderr


def test_every_name_that_something_reads_is_known(tmp_path):
    (tmp_path / "key").write_text("out of a vault")
    lines = [f"{name}=" for name in EXAMPLES]
    lines += ["DJANGO_SUPERUSER_PASSWORD=x", "NO_COLOR=1", f"SECRET_KEY_FILE={tmp_path / 'key'}"]
    (tmp_path / ".env").write_text("\n".join(lines))
    for debug in ("true", "false"):
        assert "no issues" in run(tmp_path, MANAGE_CHECK, DEBUG=debug).stdout


@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_counts_as_not_set(tmp_path, value):
    (tmp_path / ".env").write_text("PORT=9001\nKEEPALIVE_SECONDS=3\nTIME_ZONE=\n")
    found = deployed(tmp_path, PORT=value, KEEPALIVE_SECONDS=value, TIME_ZONE=value)
    assert (found["PORT"], found["INGESTION_PROGRESS_KEEPALIVE_SECONDS"]) == (9001, 3)
    assert found["TIME_ZONE"] == "UTC"


def test_a_log_in_a_terminal_has_console_format_by_default(tmp_path):
    in_terminal = "import sys; sys.stderr.isatty = lambda: True" + SHOW

    def logging_in_terminal(**env: str) -> Any:
        done = run(tmp_path, in_terminal, NO_COLOR="1", **env)
        return json.loads(re.sub(r" at 0x\w+", "", done.stdout))["LOGGING"]

    console = deployed(tmp_path, LOG_FORMAT="console", NO_COLOR="1")["LOGGING"]
    assert logging_in_terminal() == console
    assert logging_in_terminal(LOG_FORMAT="json") == deployed(tmp_path)["LOGGING"] != console


def test_dollar_sign_is_part_of_the_value(tmp_path):
    (tmp_path / ".env").write_text("METRICS_TOKEN='$ecret'\nTOKEN_KEY=$PATH\n")
    found = deployed(tmp_path, SECRET_KEY="$HOME")
    assert found["INGESTION_PROGRESS_METRICS_TOKEN"] == "$ecret"
    assert (found["SECRET_KEY"], found["INGESTION_PROGRESS_TOKEN_KEY"]) == ("$HOME", "$PATH")


def test_secret_is_read_from_a_file(tmp_path):
    (tmp_path / "key").write_text("out of a vault\n")
    assert deployed(tmp_path, SECRET_KEY_FILE=str(tmp_path / "key"))["SECRET_KEY"] == (
        "out of a vault"
    )


def test_secret_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    key = deployed(tmp_path)["SECRET_KEY"]
    assert len(str(key)) >= 50
    assert deployed(tmp_path)["SECRET_KEY"] == key
    assert (tmp_path / "var" / "secret_key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("DEBUG", "maybe", "must be true or false, not 'maybe'."),
        ("HTTPS", "ture", "must be true or false, not 'ture'."),
        ("PORT", "http", "must be a whole number, not 'http'."),
        ("PORT", "70000", "must be between 1 and 65535, not 70000."),
        ("THROTTLE_SECONDS", "soon", "must be a number, not 'soon'."),
        ("THROTTLE_SECONDS", "1,5", "must be a number, not '1,5'."),
        ("PARSERS", "text/plain", "must be NAME=VALUE pairs with commas between them, not"),
        ("TIME_ZONE", "Mars/Olympus", "must be a name like Europe/Berlin, not 'Mars/Olympus'."),
        ("TIME_ZONE", "../../etc", "must be a name like Europe/Berlin, not '../../etc'."),
        ("LOG_LEVEL", "loud", "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'loud'."),
        ("LOG_FORMAT", "xml", "must be one of console, json, not 'xml'."),
        ("DATABASE_URL", "mysql://me:secret@host/db", "that begins with sqlite:/// or postgres://"),
        ("DATABASE_URL", "sqlite://host/file", "that begins with sqlite:/// or postgres://"),
        ("SECRET_KEY_FILE", "/nowhere/key", "must be the name of a file that can be read."),
    ],
)
def test_wrong_value_is_one_sentence_that_names_the_variable(tmp_path, name, value, sentence):
    done = run(tmp_path, MANAGE_CHECK, **{name: value})
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name} (from the environment or .env) must be ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr


def test_log_of_sqlite_stays_below_a_limit(tmp_path):
    """20 MB in 400 transactions."""
    path = tmp_path / "file.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(database(f"sqlite:///{path}")["OPTIONS"]["init_command"])
        connection.execute("CREATE TABLE texts (text)")
        sizes = []
        for _ in range(400):
            connection.execute("INSERT INTO texts VALUES (zeroblob(50000))")
            sizes.append(path.with_name("file.sqlite3-wal").stat().st_size)
    limit = 4000 * 4096
    assert limit < max(sizes) < limit * 1.1
    assert sizes[-1] == sizes[-50]


def test_folder_names_with_special_characters_hold_the_database(tmp_path):
    folder = tmp_path / "c++ 100% #1?"
    folder.mkdir()
    assert deployed(folder)["DATABASES"]["default"]["NAME"] == str(folder / "var/progress.sqlite3")


def test_options_of_a_postgresql_url_take_precedence():
    url = "postgres://host/name?connect_timeout=2&lock_timeout=1s&sslmode=require"
    options = database(url)["OPTIONS"]
    assert (options["connect_timeout"], options["tcp_user_timeout"]) == (2, 15_000)
    assert options["sslmode"] == "require"
    assert "-c lock_timeout=1s" in options["options"]
    assert "-c statement_timeout=30s" in options["options"]
    assert "lock_timeout" not in options


def test_second_database_holds_the_progress_tables(tmp_path):
    url = f"sqlite:///{tmp_path / 'progress.sqlite3'}"
    found = deployed(tmp_path, PROGRESS_DATABASE_URL=url)
    assert found["INGESTION_PROGRESS_DATABASE"] == "progress"
    assert found["DATABASES"]["progress"]["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_production_is_not_public_and_secure_by_default(tmp_path):
    found = deployed(tmp_path)
    assert found["INGESTION_PROGRESS_PUBLIC"] is False
    assert found["CORS_ALLOW_ALL_ORIGINS"] is False
    assert found["SECURE_SSL_REDIRECT"] is True
    assert found["SESSION_COOKIE_SECURE"] is True
    assert found["CSRF_COOKIE_SECURE"] is True
    assert found["SECURE_HSTS_SECONDS"] == 3600
    assert "SECURE_PROXY_SSL_HEADER" not in found
    assert deployed(tmp_path, BEHIND_PROXY="yes")["SECURE_PROXY_SSL_HEADER"] == [
        "HTTP_X_FORWARDED_PROTO",
        "https",
    ]


def test_other_machines_are_accepted_only_in_development_and_if_configured(tmp_path):
    assert deployed(tmp_path, DEBUG="true")["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert deployed(tmp_path, DEBUG="true", HOST="0.0.0.0")["ALLOWED_HOSTS"] == ["*"]
    assert "*" not in deployed(tmp_path, HOST="0.0.0.0")["ALLOWED_HOSTS"]
