"""How a stream ends, and why."""

from dataclasses import dataclass
from enum import StrEnum

from ingestion_progress.wire.frames import Message


class EndReason(StrEnum):
    """Why a stream ends."""

    COMPLETED = "completed"
    """Its one job has ended, or does not exist."""
    REFUSED = "refused"
    """The viewer may no longer watch, or too many streams are open."""
    IDLE = "idle"
    """None of its jobs is active."""
    ROTATION = "rotation"
    """The stream has reached its maximum age."""
    SHUTDOWN = "shutdown"
    """The process is about to stop."""

    @property
    def is_temporary(self) -> bool:
        """The client reconnects and resumes."""
        return self in {EndReason.ROTATION, EndReason.SHUTDOWN}


@dataclass(frozen=True, slots=True)
class Ending:
    message: Message
    reason: EndReason


class AlreadyCurrent:
    """The answer to a client that has the final state already: nothing is left to stream."""
