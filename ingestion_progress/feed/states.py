from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ingestion_progress.feed.selections import bookmark
from ingestion_progress.frames import Frame, joint_frame, state_frame
from ingestion_progress.snapshots import Snapshot
from ingestion_progress.statuses import Liveness

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(eq=False, kw_only=True, slots=True)
class State:
    """What was read of a job at one moment, encoded once for all who get it: once for the
    streams of this job, once for those of many jobs, and only where there are such.
    """

    snapshot: Snapshot | None = None
    """None where there is nothing more to say: no such job, or an unreadable one."""
    now: datetime | None = None
    """The moment that its clocks show."""
    covered_at: datetime | None = None
    """The ends up to here were read at the same time or before."""
    liveness: Liveness | None = None
    """None once the job has ended, and where there is no more to say."""
    batch: str = ""
    """That of the job, as far as it is known."""
    _frame: Frame | None = None
    _joint_frame: Frame | None = None

    @classmethod
    def of(cls, snapshot: Snapshot, now: datetime, *, covered_at: datetime | None = None) -> State:
        return cls(
            snapshot=snapshot,
            now=now,
            covered_at=covered_at or now,
            liveness=snapshot.job.liveness(now),
            batch=snapshot.job.batch,
        )

    @classmethod
    def closing(cls, frame: Frame, *, batch: str = "") -> State:
        """The last word about a job that has no state: it names the job in any stream."""
        return cls(batch=batch, _frame=frame, _joint_frame=frame)

    def encode(self, *, singly: bool, jointly: bool) -> State:
        """Encodes ahead, for a thread that has the time."""
        if singly:
            _ = self.frame
        if jointly:
            _ = self.joint_frame
        return self

    @property
    def frame(self) -> Frame:
        """For streams of this job alone."""
        if self._frame is None:
            assert self.snapshot is not None  # noqa: S101  (for mypy)
            assert self.now is not None  # noqa: S101
            self._frame = state_frame(self.snapshot, self.now)
        return self._frame

    @property
    def joint_frame(self) -> Frame:
        """For streams of many jobs."""
        if self._joint_frame is None:
            assert self.snapshot is not None  # noqa: S101  (for mypy)
            assert self.now is not None  # noqa: S101
            assert self.covered_at is not None  # noqa: S101
            # An end goes out before all that was read with it, and in the order of ends: a
            # stream that is cut between two of them resumes at the one that it has.
            upto = min(self.ended_at or self.covered_at, self.covered_at)
            self._joint_frame = joint_frame(self.snapshot, self.now, bookmark(upto))
        return self._joint_frame

    @property
    def is_encoded_jointly(self) -> bool:
        return self._joint_frame is not None

    @property
    def is_final(self) -> bool:
        return self.liveness is None  # asked at every tick; to ask the job costs 2 µs

    @property
    def version(self) -> str:
        """Epoch and revision; empty where there is no state."""
        return "" if self.snapshot is None else self.snapshot.resume_id

    @property
    def ended_at(self) -> datetime | None:
        return None if self.snapshot is None else self.snapshot.job.finished_at

    @property
    def active_until(self) -> datetime:
        """Sorts ends first and in their order."""
        return self.ended_at or NEVER


def refreshed(states: Mapping[str, State], now: datetime, covered_at: datetime) -> dict[str, State]:
    """The same with clocks that are right now, encoded for streams of many jobs."""
    return {
        job_id: State.of(state.snapshot, now, covered_at=covered_at).encode(
            singly=False, jointly=True
        )
        for job_id, state in states.items()
        if state.snapshot is not None
    }
