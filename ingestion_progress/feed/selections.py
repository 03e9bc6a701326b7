"""Which jobs a stream of many jobs is about, and where its client resumes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ingestion_progress.conf import conf
from ingestion_progress.frames import Frame

# A job's end is dated by its writer and seen once it is committed: so far may the clocks of the
# hosts disagree, and so long may a commit take, before a client that resumes misses an end.
OVERLAP = timedelta(seconds=60)
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# Beyond the year 2286, or not ours.
MAX_BOOKMARK_DIGITS = 13


def bookmark(moment: datetime) -> str:
    """The `id` of a frame: what had ended by then has been sent before. Unix milliseconds."""
    return str(int(moment.timestamp() * 1000))


def ended_since(last_event_id: str, now: datetime) -> datetime | None:
    """The ends from when on a client is owed; None: it is new and owed none.

    What is no bookmark, or lies ahead of this host's clock, stands for all of them.
    """
    if not last_event_id:
        return None
    is_number = last_event_id.isascii() and last_event_id.isdigit()
    if not is_number or len(last_event_id) > MAX_BOOKMARK_DIGITS:
        return BEGINNING
    moment = datetime.fromtimestamp(int(last_event_id) / 1000, UTC)
    return BEGINNING if moment > now + OVERLAP else moment - OVERLAP


@dataclass(eq=False, kw_only=True, slots=True)
class Selection:
    """The jobs of one stream, and of those that were named which have ended."""

    names: Sequence[str] | None = None
    """None: all that are active, or those of the batch."""
    batch: str = ""
    """Only jobs of this batch; empty: whatever theirs is."""
    is_until_idle: bool = False
    """The stream ends once no job is left to wait for."""
    last_event_id: str = ""
    unanswered: set[str] = field(default_factory=set)
    """Named jobs of which nothing is known yet."""
    ended: dict[str, str] = field(default_factory=dict)
    """Epoch and revision, by id, of the named jobs that have ended or do not exist."""

    _frames_sent: int = 0
    _silent_since: float = -math.inf

    def __post_init__(self) -> None:
        self.unanswered.update(self.names or ())

    def note(self, job_id: str, frame: Frame) -> None:
        """A state of a job that was named goes out."""
        self.unanswered.discard(job_id)
        if frame.is_final:
            self.ended[job_id] = frame.resume_id
        else:
            self.ended.pop(job_id, None)

    def admits(self, batch: str) -> bool:
        """Is a job of this batch among those that were not named one by one?"""
        return not self.batch or self.batch == batch

    def is_silent(self, frames_sent: int, clock: float) -> bool:
        """Was nothing sent for so long that a comment is due? Asked again and again."""
        if frames_sent != self._frames_sent or self._silent_since == -math.inf:
            self._frames_sent, self._silent_since = frames_sent, clock
        if clock - self._silent_since < conf.keepalive_seconds:
            return False
        self._silent_since = clock
        return True

    @property
    def is_idle(self) -> bool:
        """Has every named job ended?"""
        return self.names is not None and len(self.ended) == len(self.names)

    @property
    def idle_id(self) -> str:
        """Names this very end of the named jobs: who brings it back has all of it."""
        versions = "\n".join(f"{job_id} {at}" for job_id, at in sorted(self.ended.items()))
        return "idle-" + hashlib.sha256(versions.encode()).hexdigest()[:24]
