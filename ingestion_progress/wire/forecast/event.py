"""The forecast of a job as readers see it at one moment."""

from __future__ import annotations

from datetime import datetime

from ingestion_progress.models import Job
from ingestion_progress.models.statuses import ForecastReason, Liveness
from ingestion_progress.wire.forecast.estimates import Remaining
from ingestion_progress.wire.forecast.mean_speed import linear
from ingestion_progress.wire.schemas import ForecastEventData

UNKNOWN = Remaining(0.0, 0.0, 0.0)
REASONS = {
    Liveness.QUEUED: ForecastReason.QUEUED,
    Liveness.STARVED: ForecastReason.QUEUED,
    Liveness.STALLED: ForecastReason.STALLED,
    Liveness.SILENT: ForecastReason.LOST,
    Liveness.LOST: ForecastReason.LOST,
}


def forecast_event(job: Job, percent: float, now: datetime) -> ForecastEventData | None:
    """The data of `forecast`; None once the job has ended."""
    liveness = job.liveness(now)
    if liveness is None:
        return None
    reason = ForecastReason.WAITING if job.awaited_service(now) else REASONS.get(liveness)
    left, reason = (UNKNOWN, reason) if reason else _forecast(job, percent, now)
    return ForecastEventData.model_validate(
        {
            "job_id": job.id,
            "likely_ms": _milliseconds(left.likely),
            "low_ms": _milliseconds(left.low),
            "high_ms": _milliseconds(left.high),
            "former_jobs": job.former_jobs,
            "reason": reason.value if reason else None,
        }
    )


def _forecast(job: Job, percent: float, now: datetime) -> tuple[Remaining, ForecastReason | None]:
    left = _stored(job, now) or _mean_speed(job, percent, now)
    if left is None:
        return UNKNOWN, ForecastReason.STARTING
    if left.likely <= 0:
        return UNKNOWN, ForecastReason.OVERDUE
    is_guess = job.is_forecast_by_weights or not job.former_jobs
    return left, ForecastReason.NO_HISTORY if is_guess else None


def _stored(job: Job, now: datetime) -> Remaining | None:
    """What the writer computed with the newest counts; since then it has become less."""
    likely, earliest, latest = job.likely_end_at, job.earliest_end_at, job.latest_end_at
    if likely is None or earliest is None or latest is None:
        return None
    return Remaining(*((at - now).total_seconds() for at in (likely, earliest, latest)))


def _mean_speed(job: Job, percent: float, now: datetime) -> Remaining | None:
    """The forecast at the last write of an older version, which stores none."""
    if job.former_jobs or job.started_at is None:
        return None
    left = linear((job.updated_at - job.started_at).total_seconds(), percent)
    if left is None:
        return None
    passed = (now - job.updated_at).total_seconds()
    return Remaining(left.likely - passed, left.low - passed, left.high - passed)


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
