"""How pauses grow between failures, and what is logged of them."""

from __future__ import annotations

import logging

import pytest

from ingestion_progress.concurrency.backoff import Backoff

logger = logging.getLogger("tests.backoff")


def new_backoff(**settings) -> Backoff:
    return Backoff(
        logger, down="it_is_down", back="it_is_back", first_seconds=0.5, last_seconds=3, **settings
    )


def test_pause_doubles_up_to_its_limit_and_starts_again_after_a_success():
    backoff = new_backoff()
    for _ in range(2):
        assert (backoff.pause_seconds, backoff.is_failing) == (0, False)
        pauses = []
        for _ in range(5):
            backoff.failed(OSError())
            pauses.append(backoff.pause_seconds)
        assert pauses == [0.5, 1, 2, 3, 3]
        assert backoff.is_failing
        backoff.succeeded()


def test_pause_stays_at_its_limit_after_any_number_of_failures():
    backoff = new_backoff()
    for _ in range(1100):  # 2 ** 1100 is too large for a float
        backoff.failed(OSError())
    assert backoff.pause_seconds == 3


def test_first_failure_and_first_success_are_logged(caplog):
    backoff = new_backoff()
    backoff.succeeded()
    backoff.failed(OSError("refused\nby the server"), where="here")
    backoff.failed(OSError("still refused"))
    backoff.succeeded(where="here")
    backoff.succeeded()
    down, back = caplog.records
    assert (down.message, down.levelname, down.reason) == (
        "it_is_down",
        "WARNING",
        "OSError: refused",
    )
    assert (back.message, back.levelname, back.failures) == ("it_is_back", "WARNING", 2)
    assert down.where == back.where == "here"
    assert down.exc_info is None


def test_reason_of_a_group_is_that_of_its_first_error(caplog):
    new_backoff().failed(ExceptionGroup("two", [ExceptionGroup("one", [KeyError()])]))
    assert caplog.records[0].reason == "KeyError"


@pytest.mark.parametrize("level", [logging.ERROR, logging.CRITICAL])
def test_errors_are_logged_with_their_traceback(caplog, level):
    error = OSError("refused")
    new_backoff(level=level).failed(error)
    assert caplog.records[0].levelno == level
    assert caplog.records[0].exc_info[1] is error
