"""Writes that a caller waits for, in the writer's thread."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction

from ingestion_progress.exceptions import ProgressUnavailable
from ingestion_progress.tracker.database import (
    Call,
    Calls,
    busy_as_unavailable,
    holds_sqlite_lock,
    is_transient,
    others_go_on,
    timeout_as_unavailable,
)

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


def test_call_for_a_locked_row_is_tried_again_after_the_others(calls, written):
    failures = [locked()]

    def write() -> None:
        if failures:
            raise failures.pop()
        written.append("locked")

    calls.append(Call(write=write, deadline=DEADLINE))
    calls.append(Call(write=lambda: written.append("free"), deadline=DEADLINE))
    with pytest.raises(OperationalError):
        calls.perform(lambda: NOW)
    calls.perform(lambda: NOW)
    assert written == ["free", "locked"]


def locked(state: str = "55P03") -> OperationalError:
    """What PostgreSQL's driver raises if another connection holds a row for too long."""
    error = OperationalError("canceling statement due to lock timeout")
    error.__cause__ = type("DriverError", (Exception,), {"sqlstate": state})()
    return error


@pytest.mark.parametrize("state", ["55P03", "57014", "40P01", "40001"])
def test_locked_row_stops_no_other_writes_and_is_an_answer_for_people(state):
    with others_go_on():
        raise locked(state)
    with pytest.raises(ProgressUnavailable), busy_as_unavailable("job", "deletion"):
        raise locked(state)


@pytest.mark.parametrize("error", [OperationalError("down"), locked("57P01")])
def test_outage_is_no_locked_row(error):
    for context in (others_go_on(), busy_as_unavailable("job", "deletion")):
        with pytest.raises(OperationalError) as raised, context:
            raise error
        assert raised.value is error


def failing_with(error: Exception) -> Call[None]:
    def write() -> None:
        raise error

    return Call(write=write, deadline=DEADLINE)


def test_call_that_fails_at_its_deadline_is_not_tried_again(calls, written):
    calls.append(call := failing_with(OperationalError("the database is down")))
    calls.append(Call(write=lambda: written.append("next"), deadline=DEADLINE))
    with pytest.raises(OperationalError):
        calls.perform(lambda: DEADLINE - 1)
    assert not call.future.done()
    calls.perform(lambda: DEADLINE)
    assert isinstance(call.future.exception(0), TimeoutError)
    assert written == ["next"]


@pytest.mark.parametrize("error", [IntegrityError("taken"), ValueError("wrong"), KeyError("x")])
def test_caller_gets_an_error_that_will_not_pass(calls, written, error):
    calls.append(call := failing_with(error))
    calls.append(Call(write=lambda: written.append("next"), deadline=DEADLINE))
    calls.perform(lambda: NOW)
    assert call.future.exception(0) is error
    assert written == ["next"]


@pytest.mark.parametrize("error", [None, ValueError("wrong")])
def test_call_that_is_given_up_while_it_is_written_fails_nothing(calls, error):
    def write() -> None:
        call.future.cancel()
        if error:
            raise error

    calls.append(call := Call(write=write, deadline=DEADLINE))
    calls.perform(lambda: NOW)
    assert call.future.cancelled()
    assert not calls


def caused_by(name: str) -> OperationalError:
    error = OperationalError(name)
    error.__cause__ = type("DriverError", (Exception,), {"sqlite_errorname": name})()
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InterfaceError("closed"), True),
        (OperationalError("down"), True),
        (caused_by("SQLITE_BUSY"), True),
        (caused_by("SQLITE_ERROR"), False),
        (IntegrityError("taken"), False),
        (RuntimeError("other"), False),
    ],
    ids=repr,
)
def test_only_an_outage_is_transient(error, expected):
    assert is_transient(error) is expected


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
async def test_event_loop_holds_no_lock():
    assert not holds_sqlite_lock()


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_transaction_holds_the_lock_of_sqlite_only():
    assert not holds_sqlite_lock()
    with transaction.atomic():
        assert holds_sqlite_lock() is (connection.vendor == "sqlite")


def test_timeout_is_an_error_that_names_the_job_and_the_action():
    with pytest.raises(ProgressUnavailable, match="did not confirm the end of job j in"):
        with timeout_as_unavailable("j", "end"):
            raise TimeoutError
