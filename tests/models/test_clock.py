"""The clock of the progress database, in processes whose own clock is wrong."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from ingestion_progress.models.clock import DatabaseClock, database_clock, database_now
from tests.support.live import live_project
from tests.support.servers import postgresql

HOUR = timedelta(hours=1)


def shift(monkeypatch, by: timedelta) -> None:
    real = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() + by)


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.parametrize("hours", [-1, 1])
def test_the_offset_to_the_database_is_subtracted(monkeypatch, hours):
    connection.ensure_connection()
    before, clock = timezone.now(), DatabaseClock()
    shift(monkeypatch, hours * HOUR)
    clock.measure(connection)
    if connection.vendor == "sqlite":  # it has the clock of this host
        assert clock.now() - before >= hours * HOUR
    else:
        assert abs(clock.now() - before) < timedelta(seconds=10)


@pytest.mark.django_db
@pytest.mark.database
def test_clocks_that_agree_stay_equal():
    connection.ensure_connection()
    database_clock.measure(connection)
    before = timezone.now()
    assert before <= database_now() <= timezone.now()


@pytest.mark.django_db
@pytest.mark.database
def test_the_offset_is_measured_once_a_minute(monkeypatch):
    connection.ensure_connection()
    clock = DatabaseClock()
    clock.measure(connection)
    shift(monkeypatch, HOUR)
    clock.measure(connection)
    assert clock.now() - timezone.now() < HOUR / 2


# Django's fields take the function when they are defined, so the clock is wrong before that.
WRITER = """
    import sys, time
    from ingestion_progress import track
    with track("a.pdf", job_id=sys.argv[1], stages=["one"]) as job:
        with job.stage("one", total=10) as stage:
            stage.advance(5)
            time.sleep(0.5)
            stage.advance(5)
            time.sleep(60)
"""
WRONG_CLOCK = """
    import datetime, os
    from django.utils import timezone
    right, by = timezone.now, datetime.timedelta(hours=int(os.environ["WRONG_BY_HOURS"]))
    timezone.now = lambda: right() + by
"""
STATE = """
    import json, sys, time
    from ingestion_progress.models.clock import database_now
    from ingestion_progress.wire.snapshots import load_snapshot
    from tests.support.rescuing import rescue_now
    deadline = time.monotonic() + 60
    while (snapshot := load_snapshot(sys.argv[1])) is None or (
        snapshot.stages[0].processed < int(sys.argv[2])
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if sys.argv[3] == "dead":
        time.sleep(2.5)
    timing = snapshot.progress(database_now()).timing
    print(json.dumps({
        "elapsed_ms": timing.elapsed_ms,
        "liveness": snapshot.job.liveness(database_now()),
        "lost": rescue_now().lost,
    }))
"""


@pytest.mark.once
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_writer_on_a_host_with_a_wrong_clock_is_neither_lost_nor_alive_after_its_death(
    tmp_path, hours
):
    url = postgresql().create_database()
    with live_project(tmp_path, url, LOST_AFTER_SECONDS="2", HEARTBEAT_SECONDS="0.2") as project:
        writer = project.python(WRONG_CLOCK + WRITER, "job", WRONG_BY_HOURS=str(hours))
        alive = project.ask(STATE, "job", "10", "alive")
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait(60)
        dead = project.ask(STATE, "job", "10", "dead")
    assert alive["liveness"] == "working"
    assert alive["lost"] == 0
    assert 400 <= alive["elapsed_ms"] < 30_000
    assert dead["liveness"] == "lost"
    assert dead["lost"] == 1
