"""The thread that makes rescue passes."""

from __future__ import annotations

import threading

import pytest
from django.db import OperationalError, connection

from ingestion_progress.recovery import batches as batches_module
from ingestion_progress.recovery import continue_batch, rescuer
from ingestion_progress.recovery.rescue import pass_seconds
from ingestion_progress.recovery.rescuer import Rescuer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def passed(monkeypatch) -> threading.Event:
    """Set by each pass."""
    passed = threading.Event()
    monkeypatch.setattr(rescuer, "rescue_pass", passed.set)
    return passed


def test_ten_passes_take_as_long_as_a_job_may_be_silent(settings):
    settings.INGESTION_PROGRESS_LOST_AFTER_SECONDS = 20
    assert pass_seconds() == 2


def test_passes_go_on_until_the_rescuer_is_stopped_and_again_after_another_start(settings, passed):
    settings.INGESTION_PROGRESS_RESCUING = True
    settings.INGESTION_PROGRESS_LOST_AFTER_SECONDS = 0.1
    rescuer = Rescuer()
    for _ in range(2):
        rescuer.start()
        thread = rescuer._thread
        rescuer.start()
        assert rescuer._thread is thread
        for _ in range(2):
            assert passed.wait(60)
            passed.clear()
        rescuer.stop()
        assert not thread.is_alive()
        passed.clear()


def test_nothing_passes_if_the_setting_says_so(settings, passed):
    settings.INGESTION_PROGRESS_RESCUING = False
    rescuer = Rescuer()
    rescuer.start()
    assert rescuer._thread is None


def test_a_batch_is_continued_by_a_later_pass_if_the_database_is_down(monkeypatch):
    def fail():
        raise OperationalError("the database is down")

    monkeypatch.setattr(batches_module, "jobs", fail)
    continue_batch("job")


class Waits(threading.Event):
    """Notes the pauses, none of which takes time."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return self.is_set()


def test_a_pass_that_failed_is_repeated_after_growing_pauses(settings, monkeypatch):
    settings.INGESTION_PROGRESS_LOST_AFTER_SECONDS = 300
    outcomes = iter([OperationalError("down"), OperationalError("down"), 5])
    waits = Waits()

    def act() -> int:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    measured: list[object] = []
    monkeypatch.setattr(rescuer.database_clock, "measure", measured.append)
    each = rescuer.passes(waits, act)
    assert next(each) == 5
    assert measured == [connection]  # the clock of this host may be set meanwhile
    first, second = waits.seconds
    assert 0 < first <= second <= 5
    outcomes = iter([6])
    assert next(each) == 6
    assert waits.seconds[2:] == [30]
    waits.set()
    assert list(each) == []
