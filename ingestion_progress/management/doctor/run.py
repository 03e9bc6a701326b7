"""Sends one probe job through all endpoints at once, and records what each answers."""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from urllib.parse import urlencode

from ingestion_progress.auth.permissions import URL_PARAMETER
from ingestion_progress.conf import conf
from ingestion_progress.management.doctor.endpoints import Endpoint
from ingestion_progress.management.doctor.http import Response, ResponseReader
from ingestion_progress.management.doctor.probe_job import STAGE, STEPS, ProbeJob
from ingestion_progress.management.doctor.sse import COMMENT, Event, events

ANSWER_SECONDS = 10.0
TICK_SECONDS = 0.05
# Network and proxies, in addition to the intervals of the server.
TRAVEL_SECONDS = 1.0
# How late a keep-alive may be.
KEEPALIVE_MARGIN_SECONDS = 1.5


def allowed_seconds() -> float:
    """The longest delay of a state that no proxy buffers: poll, throttle and network."""
    return conf.poll_interval_seconds + conf.throttle_seconds + TRAVEL_SECONDS


def silence_seconds() -> float:
    """How long a keep-alive may take to arrive."""
    return conf.keepalive_seconds + conf.poll_interval_seconds + KEEPALIVE_MARGIN_SECONDS


@dataclass(kw_only=True)
class ProbeResult:
    """What one endpoint answered."""

    endpoint: Endpoint
    unknown_stream: Response = field(default_factory=Response)
    """The stream of an unknown job. The probe job is requested only if this is a stream."""
    unknown_snapshot: Response = field(default_factory=Response)
    """The snapshot of an unknown job."""
    is_query_lost: bool = False
    """The token is accepted in a header, but not in the URL."""
    preferred_protocol: str = ""
    """Known only of a public endpoint with TLS."""
    plain: Response = field(default_factory=Response)
    gzipped: Response = field(default_factory=Response)
    """The same stream for a client that accepts gzip."""
    written_at: dict[int, float] = field(default_factory=dict)
    silent_since: float = 0.0
    """When the wait for a keep-alive began; 0 if there was no wait."""
    completed_at: float | None = None
    """When the job completed; None if the stream had closed before."""
    resumed_by_header: Response = field(default_factory=Response)
    """The finished stream, requested again with `Last-Event-ID`."""
    resumed_by_query: Response = field(default_factory=Response)
    """The same with `?last_event_id=`."""

    @property
    def streams(self) -> tuple[Response, Response]:
        return self.plain, self.gzipped

    @property
    def events(self) -> list[Event]:
        return events(self.plain)

    @property
    def states(self) -> list[Event]:
        return [event for event in self.events if event.name == "pipeline_progress"]

    @property
    def keepalive_at(self) -> float | None:
        """When the first keep-alive of the wait arrived."""
        times = (event.at for event in self.events if event.name == COMMENT)
        return next((at for at in times if at > self.silent_since), None)

    @property
    def is_closed_early(self) -> bool:
        """Did the stream end before its job did?"""
        return self.plain.ended_at > 0 and self.completed_at is None

    @property
    def due(self) -> set[int]:
        """The steps that had time to arrive before the stream closed."""
        latest = self.plain.ended_at - allowed_seconds() if self.is_closed_early else float("inf")
        arrived = self.delays(self.plain)
        return {step for step, at in self.written_at.items() if at < latest or step in arrived}

    def delays(self, response: Response) -> dict[int, float]:
        """Seconds from the database to the doctor, for each step that arrived.

        A state counts for earlier steps too, because the throttle may skip some.
        """
        delays: dict[int, float] = {}
        for event in events(response):
            processed = event.data.get("stages", {}).get(STAGE, {}).get("processed")
            if event.name == "pipeline_progress" and processed is not None:
                for step, at in self.written_at.items():
                    if step <= processed:
                        delays.setdefault(step, max(0.0, event.at - at))
        return delays

    def is_in_time(self, response: Response) -> bool:
        """Has every step that is due arrived, and none later than allowed?"""
        delays = self.delays(response)
        longest = max(delays.values(), default=0.0)
        return delays.keys() >= self.due and longest <= allowed_seconds()


@dataclass(frozen=True, kw_only=True)
class ProbeRun:
    job: ProbeJob
    token: str
    """Gives access to a site that is not public; empty if it cannot be issued."""
    is_quick: bool
    log: Callable[[str], None]
    """Receives each step as a text."""

    def run(self, endpoints: Iterable[Endpoint]) -> list[ProbeResult]:
        """Results in the order of the endpoints. Raises ProgressUnavailable."""
        self.log("requesting a stream at each address")
        results = [self._request_unknown_job(endpoint) for endpoint in endpoints]
        streaming = [result for result in results if result.unknown_stream.is_stream]
        if streaming:
            self.job.start()
            with ExitStack() as stack:
                self._open_streams(streaming, stack)
                self._send_steps(streaming)
                if not self.is_quick:
                    self._wait_for_keepalives(streaming)
                self._complete(streaming)
            self.log("reconnecting with the last event id")
            for result in streaming:
                self._reconnect(result)
        return results

    def _request_unknown_job(self, endpoint: Endpoint) -> ProbeResult:
        """Finds out whether the application answers, and where it accepts the token."""
        result = ProbeResult(endpoint=endpoint)
        path = endpoint.stream_path(self.job.unknown_id)
        result.unknown_stream = self._reader(result, path).fetch()
        if self.token and result.unknown_stream.status in {401, 403}:
            result.is_query_lost = True
            by_header = self._reader(result, path).fetch()
            result.is_query_lost = by_header.is_stream
            if by_header.is_stream:
                result.unknown_stream = by_header
        if result.unknown_stream.is_stream:
            snapshot_path = path.removesuffix("progress") + "snapshot"
            result.unknown_snapshot = self._reader(result, snapshot_path).fetch()
        if endpoint.is_tls and endpoint.is_public and result.unknown_stream.status:
            with suppress(OSError):
                result.preferred_protocol = endpoint.preferred_protocol()
        return result

    def _reader(
        self,
        result: ProbeResult,
        path: str,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        idle_seconds: float = ANSWER_SECONDS,
    ) -> ResponseReader:
        """The token goes into the URL, as with an EventSource, unless that is known to fail."""
        query, headers = dict(query or {}), dict(headers or {})
        if self.token and result.is_query_lost:
            headers["Authorization"] = f"Bearer {self.token}"
        elif self.token:
            query[URL_PARAMETER] = self.token
        if conf.cors_origins:
            headers["Origin"] = conf.cors_origins[0]
        target = f"{path}?{urlencode(query)}" if query else path
        return ResponseReader(result.endpoint, target, headers, idle_seconds=idle_seconds)

    def _open_streams(self, results: list[ProbeResult], stack: ExitStack) -> None:
        """Opens two streams of the job per endpoint, one of them for a client that accepts gzip."""
        idle_seconds = conf.keepalive_seconds + ANSWER_SECONDS + allowed_seconds()
        for result in results:
            path = result.endpoint.stream_path(self.job.id)
            readers = (
                self._reader(
                    result, path, headers={"Accept-Encoding": accepted}, idle_seconds=idle_seconds
                )
                for accepted in ("identity", "gzip")
            )
            result.plain, result.gzipped = (stack.enter_context(reader) for reader in readers)
            result.written_at = self.job.written_at

    def _send_steps(self, results: list[ProbeResult]) -> None:
        """The interval is longer than the throttle, so that each step is delivered."""

        def have_arrived() -> bool:
            return all(
                not response.is_open or len(result.delays(response)) == len(result.written_at)
                for result in results
                for response in result.streams
            )

        self.log("sending a job")
        _wait_until(have_arrived, allowed_seconds())
        for _ in range(STEPS):
            self.job.step()
            time.sleep(conf.throttle_seconds + conf.poll_interval_seconds + TICK_SECONDS)
        _wait_until(have_arrived, allowed_seconds())

    def _wait_for_keepalives(self, results: list[ProbeResult]) -> None:
        """Waits until each stream has sent one, has closed, or is known to arrive late."""
        self.log(f"waiting for a keep-alive, {silence_seconds():.0f} s at most")
        for result in results:
            result.silent_since = time.monotonic()
        _wait_until(
            lambda: all(
                not result.plain.is_open
                or result.keepalive_at
                or not result.is_in_time(result.plain)
                for result in results
            ),
            silence_seconds(),
        )

    def _complete(self, results: list[ProbeResult]) -> None:
        for result in results:
            if result.plain.is_open:
                result.completed_at = time.monotonic()
        self.job.complete()
        _wait_until(
            lambda: not any(response.is_open for each in results for response in each.streams),
            allowed_seconds(),
        )

    def _reconnect(self, result: ProbeResult) -> None:
        path, event_id = result.endpoint.stream_path(self.job.id), self.job.last_event_id()
        by_header = self._reader(result, path, headers={"Last-Event-ID": event_id})
        by_query = self._reader(result, path, query={"last_event_id": event_id})
        result.resumed_by_header, result.resumed_by_query = by_header.fetch(), by_query.fetch()


def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(TICK_SECONDS)
