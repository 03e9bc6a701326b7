"""What this process knows of the keys of a stage."""

from __future__ import annotations

from ingestion_progress.tracker.buffer import Buffer
from ingestion_progress.tracker.checkpoints import done_keys
from ingestion_progress.tracker.database import timeout_as_unavailable
from ingestion_progress.tracker.keys import Key, KeySet, stored_key


class StageKeys:
    """Keys that were done when they were loaded, and those reported here. Thread-safe."""

    def __init__(self, buffer: Buffer, stage: str) -> None:
        self.is_used = False
        """A key was reported."""
        self._buffer = buffer
        self._stage = stage
        self._is_loaded = False
        self._done = KeySet()
        # No limit, because `iterate` would report a forgotten failed key as done.
        self._failed: set[Key] = set()

    def load(self) -> None:
        """Reads which keys are done, once. Raises ProgressUnavailable."""
        if not self._is_loaded:
            self.reload()

    def reload(self) -> None:
        """Reads them again, with those that other processes have reported."""
        with timeout_as_unavailable(self._buffer.attempt.job_id, "checkpoint"):
            self._learn(self._buffer.writer.call(self._read))

    async def aload(self) -> None:
        if not self._is_loaded:
            with timeout_as_unavailable(self._buffer.attempt.job_id, "checkpoint"):
                self._learn(await self._buffer.writer.acall(self._read))

    def __contains__(self, key: Key) -> bool:
        """Is the key done?"""
        key = stored_key(key)
        with self._buffer.lock:
            return key in self._done

    def report(self, key: Key, *, has_failed: bool) -> None:
        """The first report of a key in an attempt counts."""
        self.is_used = True
        key = stored_key(key)
        with self._buffer.lock:
            if not self._is_first(key, has_failed=has_failed):
                return
            self._buffer.changes.stages[self._stage].keys.add(key, has_failed=has_failed)
        if not self._buffer.is_noticed:
            self._buffer.notice()

    def _is_first(self, key: Key, *, has_failed: bool) -> bool:
        if key in self._failed or (has_failed and key in self._done):
            return False
        if not has_failed:
            return self._done.add(key).new > 0
        self._failed.add(key)
        return True

    def _read(self) -> KeySet:
        return done_keys(self._buffer.attempt, self._stage)

    def _learn(self, written: KeySet) -> None:
        with self._buffer.lock:
            self._done.update(written)
            self._is_loaded = True
