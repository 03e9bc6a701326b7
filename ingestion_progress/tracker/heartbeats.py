"""Heartbeats of the attempts that run in a process, and requests to stop them."""

from __future__ import annotations

import threading
import weakref

from ingestion_progress.conf import conf
from ingestion_progress.models.clock import database_clock
from ingestion_progress.tracker.buffer import Buffer
from ingestion_progress.tracker.database import progress_connection, watched
from ingestion_progress.tracker.sql import is_any_to_stop, renew_heartbeats

# A job that reports nothing learns of its cancellation within this time.
CANCELLATION_SECONDS = 0.5


class Heartbeats:
    """The buffers of running attempts. Thread-safe; only the writer's thread calls `attend`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buffers: weakref.WeakSet[Buffer] = weakref.WeakSet()
        self.heartbeat_at = self._look_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._buffers)

    def __contains__(self, buffer: Buffer) -> bool:
        return buffer in self._buffers

    @property
    def due_at(self) -> float:
        return min(self.heartbeat_at, self._look_at)

    def add(self, buffer: Buffer, now: float) -> None:
        with self._lock:
            if not self._buffers:  # the start itself counts as a heartbeat
                self.heartbeat_at = now + conf.heartbeat_seconds
                self._look_at = now + CANCELLATION_SECONDS
            self._buffers.add(buffer)

    def discard(self, buffer: Buffer) -> None:
        with self._lock:
            self._buffers.discard(buffer)

    def forget(self) -> None:
        """Empties the buffers in a forked child, where a thread of the parent may hold the lock."""
        self._lock = threading.Lock()
        for buffer in self._buffers:
            buffer.forget()

    def attend(self, now: float) -> None:
        """Sends the heartbeats if they are due, or if an attempt is to stop; otherwise looks for
        one. What fails is due again.
        """
        if now >= self._look_at:
            if now < self.heartbeat_at and self._is_any_to_stop():
                self.heartbeat_at = now
            self._look_at = now + CANCELLATION_SECONDS
        if now >= self.heartbeat_at:
            self._send_heartbeats()
            self.heartbeat_at = now + conf.heartbeat_seconds

    def _is_any_to_stop(self) -> bool:
        going_on = [
            buffer.attempt
            for buffer in self._all()
            if not (buffer.is_cancel_requested or buffer.is_over)
        ]
        with watched():
            return bool(going_on) and is_any_to_stop(going_on)

    def _send_heartbeats(self) -> None:
        """Sends heartbeats, and finds out which attempts are cancelled or over."""
        live = self._all()
        with watched():
            results = renew_heartbeats([buffer.attempt for buffer in live])
            database_clock.measure(progress_connection())
        for buffer in live:
            buffer.learn(results.get((buffer.attempt.job_id, buffer.attempt.epoch)))

    def _all(self) -> list[Buffer]:
        with self._lock:
            return list(self._buffers)
