from __future__ import annotations

import json
import logging
import logging.config

import pytest
import structlog
from django.core.exceptions import DisallowedHost
from django.test import RequestFactory

from progress_project.log_records import logging_config


@pytest.fixture
def formatted(request, monkeypatch):
    """A function that logs, and returns the line that comes out."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    structlog.contextvars.clear_contextvars()  # a request of another test may have left some
    formatters = logging_config(level="INFO", log_format=request.param)["formatters"]
    options = dict(formatters["structured"])
    formatter = options.pop("()")(**options)

    def format_record(
        message, *args, exc_info=None, logger="ingestion_progress.streams.views", **extra
    ):
        logger = logging.getLogger(logger)
        record = logger.makeRecord(
            logger.name, logging.INFO, __file__, 1, message, args, exc_info, extra=extra
        )
        return formatter.format(record)

    return format_record


@pytest.mark.parametrize("formatted", ["json"], indirect=True)
def test_fields_of_extra_become_fields_of_the_object(formatted):
    record = json.loads(formatted("sse_stream_started", job_id="j-1", client_ip="10.0.0.1"))
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "event": "sse_stream_started",
        "level": "info",
        "logger": "ingestion_progress.streams.views",
        "job_id": "j-1",
        "client_ip": "10.0.0.1",
    }


@pytest.mark.parametrize("formatted", ["json"], indirect=True)
def test_what_is_bound_to_the_request_is_on_its_records(formatted):
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        assert json.loads(formatted("ingested %s", "a.pdf")) | {"timestamp": ""} == {
            "event": "ingested a.pdf",
            "level": "info",
            "logger": "ingestion_progress.streams.views",
            "request_id": "r-1",
            "timestamp": "",
        }


@pytest.mark.parametrize("formatted", ["json", "console"], indirect=True)
def test_query_string_of_a_request_in_a_record_is_not_shown(formatted):
    request = RequestFactory().get("/jobs/", {"token": "a-secret"})
    line = formatted("Not Found: %s", request.path, request=request, status_code=404)
    assert "Not Found: /jobs/" in line
    assert "a-secret" not in line


@pytest.mark.parametrize("formatted", ["console"], indirect=True)
def test_lines_for_people_are_short_and_have_no_colours_in_a_file(formatted):
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        line = formatted("sse_stream_started", job_id="j-1")
    assert "sse_stream_started" in line
    assert "job_id=j-1" in line
    assert "r-1" not in line
    assert "\x1b[" not in line


@pytest.mark.parametrize("formatted", ["json", "console"], indirect=True)
def test_tracebacks_have_no_local_variables(formatted):
    def fail():
        password = "a-" + "secret"
        raise RuntimeError(f"broken, {len(password)}")

    try:
        fail()
    except RuntimeError as error:
        line = formatted("sse_stream_error", exc_info=(type(error), error, error.__traceback__))
    assert "RuntimeError: broken" in line
    assert "a-secret" not in line


@pytest.mark.parametrize("formatted", ["json", "console"], indirect=True)
def test_no_control_character_of_a_record_reaches_the_terminal(formatted):
    bad = "a\nb\x1b]0;owned\x07\x9b2J\x7f\u202e"
    error = RuntimeError(bad)
    exc_info = (type(error), error, None)
    line = formatted("received %s", bad, exc_info=exc_info, document=bad, ids=[bad])
    assert line.count("owned") >= 3
    assert line.replace("\n", "").isprintable()
    head, _, _ = line.partition("\n")
    assert head.count("owned") >= 3  # a name begins no line


@pytest.mark.parametrize("formatted", ["json", "console"], indirect=True)
def test_long_fields_are_cut(formatted):
    line = formatted("Not Found: %s", "a" * 60_000, path="b" * 60_000)
    assert line.count(" characters)") == 2
    assert len(line) < 1_500


@pytest.mark.parametrize("formatted", ["json", "console"], indirect=True)
@pytest.mark.parametrize("logger", ["django.security.DisallowedHost"])
def test_foreign_host_has_no_traceback(formatted, logger):
    error = DisallowedHost("Invalid HTTP_HOST header: 'evil.example'.")
    line = formatted(str(error), logger=logger, exc_info=(type(error), error, None))
    assert "evil.example" in line
    assert "DisallowedHost:" not in line
    assert "\n" not in line


def test_colours_follow_the_conventions(monkeypatch):
    def renderer():
        config = logging_config(level="INFO", log_format="console")
        return config["formatters"]["structured"]["processors"][-1]

    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in renderer()(None, "", {"event": "x", "level": "info"})
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in renderer()(None, "", {"event": "x", "level": "info"})
