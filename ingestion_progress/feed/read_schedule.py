"""When the poller reads next: ticks, and a limited rate of readings between them."""

from __future__ import annotations

from ingestion_progress.conf import conf

# New jobs and notified ones are read at once, but no more often than this: many streams that open
# together are read together.
LOAD_INTERVAL_SECONDS = 0.02
# Sustained rate limit: after this many in a row, readings are as rare as ticks are by default.
# Otherwise many jobs that change out of step would be read without a pause.
BURST_SIZE = 20
SUSTAINED_INTERVAL_SECONDS = 0.25
# New streams of all jobs may each need a scan of all active jobs; they share one.
SCAN_INTERVAL_SECONDS = 0.25


class ReadSchedule:
    """Ticks are regular. Readings between them ("loads") take a token from a bucket that holds
    `BURST_SIZE` and gets one back per `SUSTAINED_INTERVAL_SECONDS`. All times are seconds of the
    feed's clock.
    """

    def __init__(self, clock: float) -> None:
        self.next_tick_at = self.next_load_at = self.next_scan_at = clock
        self._full_at = clock
        """When the bucket is full again."""

    def tick(self, clock: float) -> None:
        """A tick took place, or was not needed."""
        self.next_tick_at = clock + conf.poll_interval_seconds

    def scanned(self, clock: float) -> None:
        """New streams of all jobs got their first states."""
        self.next_scan_at = clock + SCAN_INTERVAL_SECONDS

    def loaded(self, began_at: float, ended_at: float, *, is_tick: bool) -> None:
        """A reading took place. A tick takes no token."""
        if not is_tick:
            self._full_at = max(self._full_at, began_at) + SUSTAINED_INTERVAL_SECONDS
        has_token_at = self._full_at - BURST_SIZE * SUSTAINED_INTERVAL_SECONDS
        self.next_load_at = max(ended_at + LOAD_INTERVAL_SECONDS, has_token_at)
