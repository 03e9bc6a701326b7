"""The metrics of this process in Prometheus's text format.

The feed and the tracker count in plain integers, without locks or labels; `prometheus_client` sees
them only during a scrape, in a registry made for that scrape.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from ingestion_progress.feed import Feed
from ingestion_progress.models.pagination import MAX_COUNTED
from ingestion_progress.tracker.writer import WriterCounts

PREFIX = "ingestion_progress_"
INSTALL_HINT = (
    "Install prometheus-client: pip install '.[metrics]' in a clone of the project, or "
    "pip install prometheus-client."
)
WAKEUP_TRANSPORTS = ("local", "channels", "notify")


@dataclass(frozen=True, slots=True)
class JobCounts:
    """Numbers of jobs by status, zeros included, each counted up to MAX_COUNTED."""

    active: Mapping[str, int]
    ended: Mapping[str, int]
    """Jobs that ended within the last hour, by status."""


@dataclass(frozen=True, eq=False, slots=True)
class ProcessMetrics:
    """The state of a process at the moment of a scrape, as a collector."""

    feed: Feed
    writer: WriterCounts
    jobs: JobCounts | None
    """None if the database did not answer in time."""

    def collect(self) -> Iterator[Any]:
        """Implements prometheus_client's Collector."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            SummaryMetricFamily,
        )

        counts = self.feed.counts
        for name, text, value in self._gauges():
            yield GaugeMetricFamily(PREFIX + name, text, value=value)
        for name, text, value in self._counters():
            yield CounterMetricFamily(PREFIX + name, text, value=value)
        yield SummaryMetricFamily(
            PREFIX + "poll_seconds",
            "Duration of polls of the database.",
            count_value=counts.polls,
            sum_value=counts.poll_seconds,
        )
        text = "Wake-ups received while jobs were watched."
        wakeups = CounterMetricFamily(PREFIX + "wakeups", text, labels=["carrier"])
        for transport in WAKEUP_TRANSPORTS:
            wakeups.add_metric([transport], counts.wakeups[transport])
        yield wakeups
        for name, text, by_status in self._job_gauges():
            jobs = GaugeMetricFamily(PREFIX + name, text, labels=["status"])
            for status, count in by_status.items():
                jobs.add_metric([status], count)
            yield jobs

    def _gauges(self) -> Iterator[tuple[str, str, float]]:
        feed = self.feed
        yield "streams_open", "Streams that have begun and not ended.", feed.open_stream_count
        yield "subscribers", "Open streams, and those about to open.", feed.subscriber_count
        yield "watched_jobs", "Jobs with a subscriber.", feed.watched_job_count
        yield "poll_lag_seconds", "Time since the last successful poll.", feed.poll_lag_seconds
        is_answered = self.jobs is not None
        yield "database_answered", "1 if the database answered this scrape in time.", is_answered

    def _job_gauges(self) -> Iterator[tuple[str, str, Mapping[str, int]]]:
        if self.jobs is None:
            return
        limit = f"at most {MAX_COUNTED}"
        yield "jobs", f"Jobs that wait or run; {limit}.", self.jobs.active
        text = f"Jobs that ended within the last hour; {limit}."
        yield "jobs_ended_last_hour", text, self.jobs.ended

    def _counters(self) -> Iterator[tuple[str, str, float]]:
        counts, writer = self.feed.counts, self.writer
        yield "frames", "States sent to clients.", counts.frames
        yield "frame_bytes", "Their size, before HTTP.", counts.frame_bytes
        yield "conflated_frames", "Unsent states replaced by newer ones.", counts.conflated
        yield "poll_failures", "Polls that raised an error.", counts.poll_failures
        yield "tracker_flushes", "Writes of a job's pending changes.", writer.flushes
        yield "tracker_failures", "Writes that the database refused.", writer.failures


def is_available() -> bool:
    """Is `prometheus_client` installed (extra `metrics`)?"""
    return find_spec("prometheus_client") is not None


def exposition(readings: ProcessMetrics) -> tuple[bytes, str]:
    """The body of a response to Prometheus, and its content type."""
    from prometheus_client import CollectorRegistry, exposition

    registry = CollectorRegistry()
    registry.register(readings)
    return exposition.generate_latest(registry), exposition.CONTENT_TYPE_LATEST
