"""System checks of the app: a wrong setting is a message with its id."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks

from ingestion_progress.checks import (
    check_can_view,
    check_database_alias,
    check_intervals,
    check_postgresql_options,
    check_public,
    check_sqlite_options,
    check_stream_limits,
    check_token_keys,
)
from progress_project.environment import database


def ids(messages) -> list[str]:
    return [message.id for message in messages]


def test_settings_of_the_project_pass_all_checks():
    assert not [message for message in run_checks() if message.id.startswith("ingestion_progress")]


def test_sqlite_in_the_default_mode_is_a_warning(monkeypatch, settings):
    plain = {"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {}}
    monkeypatch.setitem(settings.DATABASES, "default", plain)
    (message,) = check_sqlite_options()
    assert message.id == "ingestion_progress.W001"
    assert "IMMEDIATE" in message.hint


def test_postgresql_without_timeouts_is_a_warning_that_names_them(monkeypatch, settings):
    options = {"connect_timeout": 5, "options": "-c lock_timeout=5s -c statement_timeout=30s"}
    plain = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": options}
    monkeypatch.setitem(settings.DATABASES, "default", plain)
    (message,) = check_postgresql_options()
    assert message.id == "ingestion_progress.W003"
    assert "no tcp_user_timeout, idle_in_transaction_session_timeout:" in message.msg
    options |= database("postgres://host/name")["OPTIONS"]
    assert not list(check_postgresql_options())


def test_undefined_database_is_an_error(settings):
    settings.INGESTION_PROGRESS_DATABASE = "elsewhere"
    (message,) = check_database_alias()
    assert message.id == "ingestion_progress.E001"
    assert "default" in message.hint


@pytest.mark.parametrize("value", [0, -1, "often", None])
def test_setting_that_is_not_positive_is_an_error_that_names_it(settings, value):
    settings.INGESTION_PROGRESS_KEEPALIVE_SECONDS = value
    (message,) = check_intervals()
    assert "INGESTION_PROGRESS_KEEPALIVE_SECONDS" in message.msg


@pytest.mark.parametrize("value", [0, -1, "large", None])
def test_upload_limit_that_is_not_positive_is_an_error_that_names_it(settings, value):
    settings.INGESTION_PROGRESS_MAX_UPLOAD_BYTES = value
    (message,) = (found for found in run_checks() if found.id == "ingestion_progress.E002")
    assert "INGESTION_PROGRESS_MAX_UPLOAD_BYTES" in message.msg


def test_public_deployment_is_a_warning(settings):
    settings.INGESTION_PROGRESS_PUBLIC = True
    assert ids(check_public()) == ["ingestion_progress.W002"]
    settings.INGESTION_PROGRESS_PUBLIC = False
    assert not ids(check_public())


@pytest.mark.parametrize(
    "path",
    [
        "nowhere.rule",
        "nodots",
        "tests.support.rules.missing",
        "tests.support.rules.NOT_A_FUNCTION",
        "tests.support.rules.later",
    ],
)
def test_can_view_hook_that_cannot_be_called_is_an_error_that_names_it(settings, path):
    settings.INGESTION_PROGRESS_CAN_VIEW = path
    (message,) = check_can_view()
    assert message.id == "ingestion_progress.E003"
    assert path in message.msg


@pytest.mark.parametrize("path", ["", None, "tests.support.rules.own_jobs_only"])
def test_working_can_view_hook_or_none_is_accepted(settings, path):
    settings.INGESTION_PROGRESS_CAN_VIEW = path
    assert not ids(check_can_view())


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"ALGORITHM": "none"}, "must be one of"),
        ({"ALGORITHM": "HS1"}, "must be one of"),
        ({"KEY": "short"}, "32 bytes"),
        ({"KEY": "x" * 32, "ALGORITHM": "HS512"}, "64 bytes"),
        ({"ALGORITHM": "ES256"}, "public key"),
        ({"ALGORITHM": "ES256", "PUBLIC_KEY": "no key"}, "cannot be used"),
        ({"KEY": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}, "cannot be used"),
    ],
)
def test_unusable_keys_are_an_error_with_the_reason(settings, wrong, complaint):
    for name, value in wrong.items():
        setattr(settings, f"INGESTION_PROGRESS_TOKEN_{name}", value)
    (message,) = check_token_keys()
    assert message.id == "ingestion_progress.E004"
    assert complaint in message.msg


def test_usable_keys_are_accepted(settings):
    assert not ids(check_token_keys())
    settings.INGESTION_PROGRESS_TOKEN_KEY = "x" * 32
    assert not ids(check_token_keys())


def test_stream_limit_that_is_not_a_number_is_an_error_that_names_it(settings):
    assert not ids(check_stream_limits())
    settings.INGESTION_PROGRESS_MAX_STREAMS_PER_USER = "many"
    settings.INGESTION_PROGRESS_MAX_STREAMS = -1
    messages = list(check_stream_limits())
    assert ids(messages) == ["ingestion_progress.E006"] * 2
    assert "INGESTION_PROGRESS_MAX_STREAMS_PER_USER" in messages[1].msg
