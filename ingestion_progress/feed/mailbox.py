"""What a stream has not sent yet, with one slot per job."""

from collections.abc import Mapping

from ingestion_progress.wire.frames import Frame


class Mailbox:
    """The newest unsent state of each job, and the ends, which are sent first."""

    __slots__ = ("_ends", "_states")

    def __init__(self) -> None:
        self._ends: dict[str, Frame] = {}
        self._states: dict[str, Frame] = {}

    def __bool__(self) -> bool:
        return bool(self._states or self._ends)

    def put(self, job_id: str, frame: Frame, *, goes_first: bool) -> bool:
        """True: an unsent frame of the job was replaced."""
        is_conflated = job_id in self._states or job_id in self._ends
        if goes_first:
            self._states.pop(job_id, None)
            self._ends[job_id] = frame
        else:
            self._states[job_id] = frame
        return is_conflated

    def fill(self, ends: Mapping[str, Frame], states: Mapping[str, Frame]) -> None:
        self._ends.update(ends)
        self._states.update(states)

    def take(self) -> Frame:
        """The oldest frame, ends first. The mailbox must not be empty."""
        slots = self._ends or self._states
        return slots.pop(next(iter(slots)))
