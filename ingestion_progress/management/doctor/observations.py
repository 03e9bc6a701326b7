"""What an examination saw at one hop; the checks judge it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from ingestion_progress.conf import conf
from ingestion_progress.management.doctor.endpoints import Hop
from ingestion_progress.management.doctor.http import Reading
from ingestion_progress.management.doctor.probe_job import STAGE
from ingestion_progress.management.doctor.sse import COMMENT, Arrival, arrivals

# What the way may take beyond the server's own intervals.
TRAVEL_SECONDS = 1.0


def allowed_seconds() -> float:
    """How late a state may be: the poll, the throttle, and the way."""
    return conf.poll_interval_seconds + conf.throttle_seconds + TRAVEL_SECONDS


@dataclass(kw_only=True)
class Observation:
    hop: Hop
    greeting: Reading
    """The stream of a job that does not exist, which ends at once."""
    is_query_lost: bool = False
    """The token counted in a header only."""
    is_token_refused: bool = False
    alpn: str = ""
    """What a TLS hop would rather speak; empty where it was not asked."""
    missing: Reading = field(default_factory=Reading)
    """The snapshot of a job that does not exist: an ordinary 404."""
    plain: Reading = field(default_factory=Reading)
    packed: Reading = field(default_factory=Reading)
    """The same stream for a client that takes gzip."""
    written: dict[int, float] = field(default_factory=dict)
    silent_since: float | None = None
    """When silence was begun to be waited out; None where it was not."""
    silence_over_at: float = 0.0
    completed_at: float | None = None
    """When the job was completed; None where it was not looked for."""
    resumed: Reading = field(default_factory=Reading)
    """The ended stream again, with `Last-Event-ID`."""
    queried: Reading = field(default_factory=Reading)
    """The same with `?last_event_id=`."""

    @property
    def is_right_stream(self) -> bool:
        """Does it answer as the application does? Otherwise there is nothing more to see."""
        return self.greeting.is_stream

    @cached_property
    def events(self) -> list[Arrival]:
        """All of the plain stream. Only once the examination is over."""
        return arrivals(self.plain)

    @property
    def is_job_seen(self) -> bool:
        return any(event.name == "pipeline_progress" for event in self.events)

    @property
    def is_closed_early(self) -> bool:
        """Did the stream end before its job did?"""
        return self.plain.ended_at > 0 and self.completed_at is None

    @property
    def due(self) -> dict[int, float]:
        """When each step was written that had to come: of a stream closed early, the older ones."""
        if not self.is_closed_early:
            return self.written
        latest = self.plain.ended_at - allowed_seconds()
        came = lateness(self.plain, self.written)
        return {step: at for step, at in self.written.items() if at < latest or step in came}

    @property
    def is_held_back(self) -> bool:
        """Did steps come too late, or not at all?"""
        return not is_timely(lateness(self.plain, self.written), self.due)

    @property
    def keepalives(self) -> list[Arrival]:
        return [event for event in self.events if event.name == COMMENT]


def lateness(reading: Reading, written: dict[int, float]) -> dict[int, float]:
    """Seconds from the database to us by step, of those steps that have come.

    A later state stands for the earlier ones: the throttle may leave some out.
    """
    late: dict[int, float] = {}
    for event in arrivals(reading):
        reached = _step(event)
        for step, at in written.items():
            if reached is not None and step <= reached:
                late.setdefault(step, max(0.0, event.at - at))
    return late


def is_timely(late: dict[int, float], written: dict[int, float]) -> bool:
    """Have all these steps come, and none too late?"""
    return late.keys() >= written.keys() and max(late.values(), default=0.0) <= allowed_seconds()


def _step(event: Arrival) -> int | None:
    stage = event.data.get("stages", {}).get(STAGE, {})
    return stage.get("processed") if event.name == "pipeline_progress" else None
