"""Writes that a caller waits for, in the writer's thread."""

from __future__ import annotations

import pytest
from django.db import OperationalError

from ingestion_progress.tracker.database import Call, Calls

NOW, DEADLINE = 0.0, 5.0


@pytest.fixture
def written() -> list[str]:
    return []


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_call_that_its_caller_gave_up_is_not_written_later(calls, written):
    given_up = Call(write=lambda: written.append("given up"), deadline=DEADLINE)
    next_one = Call(write=lambda: written.append("next"), deadline=DEADLINE)
    calls.append(given_up)
    calls.append(next_one)
    given_up.future.cancel()
    calls.perform(lambda: NOW)
    assert written == ["next"]
    assert next_one.future.done()
    assert not calls


def test_call_that_failed_is_tried_again_before_those_after_it(calls, written):
    failures = [OperationalError("the database is down")]

    def write() -> None:
        if failures:
            raise failures.pop()
        written.append("first")

    calls.append(Call(write=write, deadline=DEADLINE))
    calls.append(Call(write=lambda: written.append("second"), deadline=DEADLINE))
    with pytest.raises(OperationalError):
        calls.perform(lambda: NOW)
    assert written == []
    calls.perform(lambda: NOW)
    assert written == ["first", "second"]


def test_only_calls_whose_deadline_has_passed_expire(calls, written):
    late = Call(write=lambda: written.append("late"), deadline=NOW)
    early = Call(write=lambda: written.append("early"), deadline=DEADLINE)
    calls.append(early)
    calls.append(late)
    calls.expire(NOW)
    assert isinstance(late.future.exception(0), TimeoutError)
    calls.perform(lambda: NOW)
    assert written == ["early"]
