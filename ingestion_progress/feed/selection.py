"""The jobs of a stream, how they are encoded for it, where it resumes and when it ends."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.models import Q

    from ingestion_progress.feed.job_state import JobState, NoState
    from ingestion_progress.feed.visible_jobs import VisibleJobs
    from ingestion_progress.wire.frames import Frame

# The writer dates a job's end, which becomes visible at its COMMIT. A client that resumes misses no
# end if the clocks of the hosts differ by at most this much, and no COMMIT takes longer.
OVERLAP = timedelta(seconds=60)
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# Longer numbers lie beyond the year 2286, or are not Unix milliseconds.
MAX_CURSOR_DIGITS = 13


@dataclass(eq=False, kw_only=True, slots=True)
class Selection:
    """The jobs of one stream. Made by `one`, `named` or `active`; each stream needs its own."""

    job_ids: tuple[str, ...] | None
    """None: all active jobs, or those of the batch."""
    is_single: bool = False
    """One job in the URL: single-job frames, and the stream ends with the job."""
    batch: str = ""
    """Only jobs of this batch; empty: any."""
    condition: Q | None = None
    """Only active jobs that match."""
    visible: VisibleJobs | None = None
    """What the project's rule and the condition show; None without both."""
    hidden: Collection[str] = ()
    """Named jobs that the rule hides: they do not exist for this stream."""
    is_until_idle: bool = False
    """A stream of many jobs ends once none of them is active."""
    last_event_id: str = ""
    """The cursor that the client sent; empty for a new client."""
    unanswered: set[str] = field(default_factory=set)
    """Named jobs of which no state has been sent yet."""
    ended: dict[str, str] = field(default_factory=dict)
    """Epoch and revision, by id, of the named jobs that have ended or do not exist."""

    def __post_init__(self) -> None:
        self.unanswered.update(self.job_ids or ())

    @classmethod
    def one(cls, job_id: str, *, last_event_id: str = "") -> Selection:
        return cls(job_ids=(job_id,), is_single=True, last_event_id=last_event_id)

    @classmethod
    def named(
        cls, job_ids: Iterable[str], *, is_until_idle: bool = False, last_event_id: str = ""
    ) -> Selection:
        """Several jobs; ids that occur twice count once."""
        return cls(
            job_ids=tuple(dict.fromkeys(job_ids)),
            is_until_idle=is_until_idle,
            last_event_id=last_event_id,
        )

    @classmethod
    def active(
        cls, *, batch: str = "", is_until_idle: bool = False, last_event_id: str = ""
    ) -> Selection:
        """All active jobs, now and later, or those of the batch."""
        return cls(
            job_ids=None, batch=batch, is_until_idle=is_until_idle, last_event_id=last_event_id
        )

    @property
    def error_job_id(self) -> str:
        """The `job_id` of an error about the stream itself; empty on a stream of many jobs."""
        return self.job_ids[0] if self.is_single and self.job_ids else ""

    @property
    def access_ids(self) -> tuple[str, ...]:
        """The jobs that the viewer must be allowed to watch; `""` means all jobs."""
        return ("",) if self.job_ids is None else self.job_ids

    def includes(self, batch: str) -> bool:
        """Does a stream of active jobs show a job of this batch, if no rule hides it?"""
        return not self.batch or self.batch == batch

    def shows(self, job_id: str, batch: str) -> bool:
        """Does a stream of active jobs show this job?"""
        return self.includes(batch) and (self.visible is None or job_id in self.visible.ids)

    def frame_of(self, state: JobState | NoState) -> Frame:
        return state.single_frame if self.is_single else state.multi_frame

    def has(self, frame: Frame) -> bool:
        """Did the client send the cursor of exactly this state?"""
        return self.is_single and frame.cursor != "" and frame.cursor == self.last_event_id

    def ended_since(self, now: datetime) -> datetime | None:
        """A stream of active jobs receives the ends since this time; None: it receives none.

        A new client receives none. A cursor that is malformed, or ahead of this host's clock, means
        all ends.
        """
        if not self.last_event_id:
            return None
        is_number = self.last_event_id.isascii() and self.last_event_id.isdigit()
        if not is_number or len(self.last_event_id) > MAX_CURSOR_DIGITS:
            return BEGINNING
        moment = datetime.fromtimestamp(int(self.last_event_id) / 1000, UTC)
        return BEGINNING if moment > now + OVERLAP else moment - OVERLAP

    def note(self, job_id: str, frame: Frame) -> None:
        """Records that this state of a named job is sent."""
        self.unanswered.discard(job_id)
        if self.job_ids is None:
            return
        if frame.is_final:
            self.ended[job_id] = frame.cursor
        else:
            self.ended.pop(job_id, None)

    @property
    def is_idle(self) -> bool:
        """Has every named job ended?"""
        return self.job_ids is not None and len(self.ended) == len(self.job_ids)

    @property
    def idle_cursor(self) -> str:
        """Identifies this end of the named jobs: a client that has it has missed nothing."""
        versions = "\n".join(f"{job_id} {at}" for job_id, at in sorted(self.ended.items()))
        return "idle-" + hashlib.sha256(versions.encode()).hexdigest()[:24]
