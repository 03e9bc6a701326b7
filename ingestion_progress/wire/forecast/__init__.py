"""How long a job will take, from its counts and from the times of earlier jobs.

Nothing here reads the database or a clock.
"""

from ingestion_progress.wire.forecast.estimates import Remaining, StageCounts
from ingestion_progress.wire.forecast.history import History, StageHistory, StageTime, learn
from ingestion_progress.wire.forecast.mean_speed import by_weights, linear
from ingestion_progress.wire.forecast.remaining import remaining, time_percent

__all__ = [
    "History", "Remaining", "StageCounts", "StageHistory", "StageTime",
    "by_weights", "learn", "linear", "remaining", "time_percent",
]  # fmt: skip
