"""Rescue passes at regular intervals, in a thread of web processes and workers or as a service."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from django.db import connections

from ingestion_progress.concurrency.backoff import Backoff
from ingestion_progress.concurrency.process_thread import ProcessThread
from ingestion_progress.conf import conf
from ingestion_progress.models.clock import database_clock
from ingestion_progress.recovery.rescue import pass_seconds, rescue_pass
from ingestion_progress.tracker.database import progress_connection, watched

logger = logging.getLogger("ingestion_progress.recovery")


Result = TypeVar("Result")

HUNG_PASS_SECONDS = 30.0


def passes(is_stopped: threading.Event, act: Callable[[], Result]) -> Iterator[Result]:
    """One pass after the other until the event is set. Survives a database that is down."""
    backoff = Backoff(
        logger,
        down="rescue_database_down",
        back="rescue_database_back",
        first_seconds=1.0,
        last_seconds=5.0,
    )
    while not is_stopped.is_set():
        try:
            with watched(HUNG_PASS_SECONDS):
                result = act()
                database_clock.measure(progress_connection())
        except Exception as error:  # noqa: BLE001  (later jobs still need this loop)
            backoff.failed(error)
            connections.close_all()
        else:
            backoff.succeeded()
            yield result
        is_stopped.wait(backoff.pause_seconds or pass_seconds())
    connections.close_all()


class Rescuer(ProcessThread):
    """Makes passes from the first `start` to the end of the process."""

    def __init__(self) -> None:
        super().__init__("ingestion-progress-rescuer", exit_seconds=2.0, exit_priority=50)

    def _reset(self) -> None:
        super()._reset()
        self._is_stopped = threading.Event()

    def start(self) -> None:
        if conf.is_rescuing and not self._is_running:
            self._is_stopped.clear()
            super().start()

    def _run(self) -> None:
        for _ in passes(self._is_stopped, rescue_pass):
            pass

    def _wake(self) -> None:
        self._is_stopped.set()


rescuer = Rescuer()
