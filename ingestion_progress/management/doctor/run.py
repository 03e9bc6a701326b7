"""Sends one marked job to all hops at once, and keeps what came out of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

from ingestion_progress.auth.tokens import PARAMETER
from ingestion_progress.conf import conf
from ingestion_progress.management.doctor.endpoints import Hop
from ingestion_progress.management.doctor.http import (
    End,
    Reader,
    Reading,
    Request,
    fetch,
)
from ingestion_progress.management.doctor.observations import (
    Observation,
    allowed_seconds,
    is_timely,
    lateness,
)
from ingestion_progress.management.doctor.probe_job import STEPS, MarkedJob
from ingestion_progress.management.doctor.sse import COMMENT, arrivals

ANSWER_SECONDS = 10.0
TICK_SECONDS = 0.05
# How much later than announced a keepalive may be.
KEEPALIVE_MARGIN_SECONDS = 1.5
REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

Tell = Callable[[str], None]


class Examination:
    """`token` opens the job where the site is not public. `tell` hears what is being done."""

    def __init__(self, job: MarkedJob, *, token: str, is_quick: bool, tell: Tell) -> None:
        self._job = job
        self._token = token
        self._is_quick = is_quick
        self._tell = tell

    def run(self, hops: Iterable[Hop]) -> list[Observation]:
        """In the order of the hops. Raises ProgressUnavailable."""
        self._tell("asking each hop for a stream")
        seen = [self._greet(hop) for hop in hops]
        right = [observation for observation in seen if observation.is_right_stream]
        if right:
            self._job.start()
            with self._streams(right) as readers:
                self._send_steps(readers)
                if not self._is_quick:
                    self._wait_in_silence(right)
                self._end(right, readers)
            self._tell("coming back with the last event's id")
            for observation in right:
                self._come_back(observation)
        return seen

    def _greet(self, hop: Hop) -> Observation:
        """Whether the hop answers like the application, and by which way it takes the token."""
        path = hop.stream_path(self._job.unknown_id)
        seen = Observation(hop=hop, greeting=self._fetch(hop, path))
        if self._token and seen.greeting.status in REFUSED:
            by_header = self._fetch(hop, path, by_header=True)
            seen.is_query_lost = by_header.is_stream
            seen.is_token_refused = not by_header.is_stream
            if by_header.is_stream:
                seen.greeting = by_header
        if seen.greeting.is_stream:
            missing = hop.snapshot_path(self._job.unknown_id)
            seen.missing = self._fetch(hop, missing, by_header=seen.is_query_lost)
        if hop.is_tls and hop.is_public and seen.greeting.status:
            with suppress(OSError):  # it has just answered; then nothing is known
                seen.alpn = hop.alpn_choice()
        return seen

    def _fetch(
        self, hop: Hop, path: str, *, by_header: bool = False, **resume: dict[str, str]
    ) -> Reading:
        request = self._request(path, by_header=by_header, **resume)
        return fetch(hop, request, seconds=ANSWER_SECONDS)

    def _request(
        self,
        path: str,
        *,
        by_header: bool,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Request:
        """With the token where an EventSource has it, in the URL, unless that is of no use."""
        query, headers = dict(query or {}), dict(headers or {})
        if self._token and by_header:
            headers["Authorization"] = f"Bearer {self._token}"
        elif self._token:
            query[PARAMETER] = self._token
        if conf.cors_origins:
            headers["Origin"] = conf.cors_origins[0]
        return Request(path=path, query=query, headers=headers)

    @contextmanager
    def _streams(self, right: list[Observation]) -> Iterator[list[Reader]]:
        """Two streams of the job at each hop, one of them for a client that takes gzip."""
        readers = []
        for seen in right:
            for accepted in ("identity", "gzip"):
                request = self._request(
                    seen.hop.stream_path(self._job.id),
                    by_header=seen.is_query_lost,
                    headers={"Accept-Encoding": accepted},
                )
                idle_seconds = conf.keepalive_seconds + ANSWER_SECONDS + allowed_seconds()
                readers.append(Reader(seen.hop, request, idle_seconds=idle_seconds))
            seen.plain, seen.packed = (reader.reading for reader in readers[-2:])
            seen.written = self._job.written
        for reader in readers:
            reader.start()
        try:
            yield readers
        finally:
            for reader in readers:
                reader.stop()

    def _send_steps(self, readers: list[Reader]) -> None:
        """Farther apart than the throttle, so that each is delivered."""
        self._tell("sending a job")
        self._wait_for_steps(readers)
        for _ in range(STEPS):
            if all(reader.reading.end is not End.NOT_YET for reader in readers):
                return
            self._job.step()
            time.sleep(conf.throttle_seconds + conf.poll_interval_seconds + TICK_SECONDS)
        self._wait_for_steps(readers)

    def _wait_for_steps(self, readers: list[Reader]) -> None:
        _until(
            lambda: all(
                reader.reading.end is not End.NOT_YET
                or len(lateness(reader.reading, self._job.written)) == len(self._job.written)
                for reader in readers
            ),
            allowed_seconds(),
        )

    def _wait_in_silence(self, right: list[Observation]) -> None:
        """Until each stream has got a keepalive or was closed. Those held back are known so."""
        watched = [
            seen for seen in right if is_timely(lateness(seen.plain, seen.written), seen.written)
        ]
        if not watched:
            return
        seconds = conf.keepalive_seconds + conf.poll_interval_seconds + KEEPALIVE_MARGIN_SECONDS
        self._tell(f"waiting for a keepalive, {seconds:.0f} s at most")
        begun = time.monotonic()
        for seen in watched:
            seen.silent_since = begun
        _until(
            lambda: all(
                seen.plain.end is not End.NOT_YET or _has_keepalive(seen) for seen in watched
            ),
            seconds,
        )
        for seen in watched:
            seen.silence_over_at = time.monotonic()

    def _end(self, right: list[Observation], readers: list[Reader]) -> None:
        for seen in right:
            if seen.plain.end is End.NOT_YET:
                seen.completed_at = time.monotonic()
        self._job.complete()
        deadline = time.monotonic() + allowed_seconds()
        for reader in readers:
            reader.wait(deadline - time.monotonic())

    def _come_back(self, seen: Observation) -> None:
        path, resume_id = seen.hop.stream_path(self._job.id), self._job.resume_id()
        by_header = seen.is_query_lost
        seen.resumed = self._fetch(
            seen.hop, path, by_header=by_header, headers={"Last-Event-ID": resume_id}
        )
        seen.queried = self._fetch(
            seen.hop, path, by_header=by_header, query={"last_event_id": resume_id}
        )


def _has_keepalive(seen: Observation) -> bool:
    since = seen.silent_since or 0.0
    return any(event.name == COMMENT and event.at > since for event in arrivals(seen.plain))


def _until(is_true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_true() and time.monotonic() < deadline:
        time.sleep(TICK_SECONDS)
