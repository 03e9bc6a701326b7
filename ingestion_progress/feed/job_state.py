"""The state of a job that was read at one moment, encoded once for all its streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from ingestion_progress.models.statuses import Liveness
from ingestion_progress.wire.frames import Frame, multi_job_frame, single_job_frame
from ingestion_progress.wire.snapshots import Snapshot

NEVER = datetime.max.replace(tzinfo=UTC)


def cursor_at(moment: datetime) -> str:
    """The `id:` on a stream of many jobs: ends up to this time were sent. Unix milliseconds."""
    return str(int(moment.timestamp() * 1000))


@dataclass(eq=False, slots=True)
class JobState:
    """A job's snapshot, and its frames, each encoded when it is first needed."""

    snapshot: Snapshot
    now: datetime
    """The time for which its elapsed times are computed."""
    covered_at: datetime
    """All ends up to this time were read with this state, or before."""
    batch: str = field(init=False)
    liveness: Liveness | None = field(init=False)
    """None once the job has ended."""
    _single_frame: Frame | None = field(default=None, init=False)
    _multi_frame: Frame | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.batch = self.snapshot.job.batch
        self.liveness = self.snapshot.job.liveness(self.now)

    @property
    def single_frame(self) -> Frame:
        """For streams of this job alone."""
        if self._single_frame is None:
            self._single_frame = single_job_frame(self.snapshot, self.now)
        return self._single_frame

    @property
    def multi_frame(self) -> Frame:
        """For streams of many jobs."""
        if self._multi_frame is None:
            # Ends are sent before all states that were read with them, in the order of their dates:
            # a stream that is cut between two ends resumes at the one that its client has.
            upto = min(self.ended_at or self.covered_at, self.covered_at)
            self._multi_frame = multi_job_frame(self.snapshot, self.now, cursor_at(upto))
        return self._multi_frame

    def encode(self, *, single: bool, multi: bool) -> JobState:
        """Encodes ahead, in the reading thread."""
        if single:
            _ = self.single_frame
        if multi:
            _ = self.multi_frame
        return self

    def with_clocks_at(self, now: datetime, covered_at: datetime | None = None) -> JobState:
        """The same snapshot; its elapsed times are those of `now`."""
        return JobState(self.snapshot, now, covered_at or self.covered_at)

    @property
    def has_multi_frame(self) -> bool:
        return self._multi_frame is not None

    @property
    def is_final(self) -> bool:
        return self.liveness is None  # read at every tick; `job.is_finished` takes 2 µs

    @property
    def version(self) -> str:
        """Epoch and revision."""
        return self.snapshot.cursor

    @property
    def ended_at(self) -> datetime | None:
        return self.snapshot.job.finished_at

    @property
    def active_until(self) -> datetime:
        """A sort key: ended jobs first, in the order of their ends."""
        return self.ended_at or NEVER


@dataclass(eq=False, slots=True)
class NoState:
    """A job that does not exist, or whose rows cannot be read: one error frame for any stream."""

    frame: Frame
    batch: str = ""
    """The job's batch, if it was known."""

    liveness = None
    is_final = True
    has_multi_frame = True
    version = ""
    ended_at = None
    active_until = NEVER

    @property
    def single_frame(self) -> Frame:
        return self.frame

    @property
    def multi_frame(self) -> Frame:
        return self.frame


State: TypeAlias = JobState | NoState


def refreshed(
    states: Mapping[str, JobState], now: datetime, covered_at: datetime
) -> dict[str, JobState]:
    """The same states with the elapsed times of `now`, encoded for streams of many jobs."""
    return {
        job_id: state.with_clocks_at(now, covered_at).encode(single=False, multi=True)
        for job_id, state in states.items()
    }


def in_order_of_ends(states: Mapping[str, State]) -> list[tuple[str, State]]:
    """The states by job id: ended jobs first, in the order of their ends."""
    return sorted(states.items(), key=lambda item: item[1].active_until)
