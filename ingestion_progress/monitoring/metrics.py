"""What a process counts of itself, and how Prometheus is told.

Counting is adding to a plain integer: no lock, no label, nothing of `prometheus_client`, which
turns the numbers into its own objects only while it is asked, in a registry made for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ingestion_progress.feed.counts import FeedCounts
from ingestion_progress.tracker.counts import WriterCounts

if TYPE_CHECKING:
    from prometheus_client import Metric

PREFIX = "ingestion_progress"
WAKEUP_CARRIERS = ("local", "channels", "notify")


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """All that is known of a process at the moment of a scrape."""

    feed: FeedCounts
    writer: WriterCounts
    streams: int
    subscribers: int
    watched_jobs: int
    poll_lag_seconds: float
    jobs: Mapping[str, int] | None
    """By status; None where the database did not answer in time."""


def is_available() -> bool:
    """Is `prometheus_client` installed (extra `metrics`)?"""
    return find_spec("prometheus_client") is not None


def exposition(readings: Readings) -> tuple[bytes, str]:
    """The body of an answer to Prometheus and its content type."""
    from prometheus_client import CollectorRegistry, exposition

    registry = CollectorRegistry()
    registry.register(_Collector(readings))
    return exposition.generate_latest(registry), exposition.CONTENT_TYPE_LATEST


class _Collector:
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterator[Metric]:
        yield from _gauges(self._readings)
        yield from _counters(self._readings)
        yield _polls(self._readings.feed)
        yield _wakeups(self._readings.feed)
        yield from _jobs(self._readings.jobs)


def _gauges(readings: Readings) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    for name, text, value in (
        ("streams_open", "Streams that have begun and not ended.", readings.streams),
        ("subscribers", "Open streams, and those about to open.", readings.subscribers),
        ("watched_jobs", "Jobs that somebody watches.", readings.watched_jobs),
        ("poll_lag_seconds", "Since the last successful poll.", readings.poll_lag_seconds),
    ):  # fmt: skip
        yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _counters(readings: Readings) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    feed, writer = readings.feed, readings.writer
    for name, text, value in (
        ("frames", "States handed to clients.", feed.frames),
        ("frame_bytes", "Their size, before HTTP.", feed.frame_bytes),
        ("conflated_frames", "States that a newer one replaced unsent.", feed.conflated),
        ("poll_failures", "Polls that raised an error.", feed.poll_failures),
        ("tracker_flushes", "Writes of a job's pending changes by this process.", writer.flushes),
        ("tracker_failures", "Writes that the database refused or did not take.", writer.failures),
    ):  # fmt: skip
        yield CounterMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _polls(feed: FeedCounts) -> Metric:
    from prometheus_client.core import SummaryMetricFamily

    return SummaryMetricFamily(
        f"{PREFIX}_poll_seconds",
        "Duration of polls of the database.",
        count_value=feed.polls,
        sum_value=feed.poll_seconds,
    )


def _wakeups(feed: FeedCounts) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(
        f"{PREFIX}_wakeups",
        "Hints that this process heard while somebody watched.",
        labels=["carrier"],
    )
    for carrier in WAKEUP_CARRIERS:
        family.add_metric([carrier], feed.wakeups[carrier])
    return family


def _jobs(jobs: Mapping[str, int] | None) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    answered = GaugeMetricFamily(
        f"{PREFIX}_database_answered",
        "1 where the database answered this scrape in time.",
        value=jobs is not None,
    )
    yield answered
    if jobs is not None:
        family = GaugeMetricFamily(f"{PREFIX}_jobs", "Jobs by status.", labels=["status"])
        for status, count in jobs.items():
            family.add_metric([status], count)
        yield family
