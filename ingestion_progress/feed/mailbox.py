from __future__ import annotations

from collections.abc import Mapping

from ingestion_progress.wire.frames import Frame


class Mailbox:
    """What a stream has not taken yet: the newest state of each job, and what goes before them."""

    __slots__ = ("_endings", "_states")

    def __init__(self) -> None:
        self._endings: dict[str, Frame] = {}
        self._states: dict[str, Frame] = {}

    def __bool__(self) -> bool:
        return bool(self._states or self._endings)

    def put(self, job_id: str, frame: Frame, *, goes_first: bool) -> bool:
        """Was there a frame of the job already?"""
        is_conflated = job_id in self._states or job_id in self._endings
        if goes_first:
            self._states.pop(job_id, None)
            self._endings[job_id] = frame
        else:
            self._states[job_id] = frame
        return is_conflated

    def fill(self, endings: Mapping[str, Frame], states: Mapping[str, Frame]) -> None:
        self._endings.update(endings)
        self._states.update(states)

    def take(self) -> Frame:
        """The oldest of those that are due first. It must not be empty."""
        slots = self._endings or self._states
        return slots.pop(next(iter(slots)))
