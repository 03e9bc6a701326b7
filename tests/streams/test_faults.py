"""Clients that stall, crawl, vanish and storm, all at once, beside one that reads as it should.

All three servers stand it together: the longest wait, for the age at which a stream is ended and
for a reader that does not take even that, passes once.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.streams.test_drain import documented_command
from tests.support import faults
from tests.support.event_streams import progress_url
from tests.support.live import SERVERS, LiveProject, LiveServer, live_project
from tests.support.servers import free_port, postgresql

pytestmark = pytest.mark.once

STALLED, CRAWLING, HALF_CLOSED, RESET, VANISHED, SLOW, BURST = 3, 3, 5, 10, 3, 100, 2000
THROTTLE_SECONDS = 0.2
HOSTILE = STALLED + CRAWLING + HALF_CLOSED + RESET + VANISHED + SLOW
MEBIBYTE = 1024 * 1024
SPARE_DESCRIPTORS = VANISHED + 3
SETTINGS = {
    "LOG_FORMAT": "json",
    "ALLOWED_HOSTS": "*",
    "KEEPALIVE_SECONDS": "1",
    "POLL_INTERVAL_SECONDS": "0.1",
    "THROTTLE_SECONDS": str(THROTTLE_SECONDS),
    "MAX_STREAM_SECONDS": "8",
    "LOST_AFTER_SECONDS": "600",
}


@dataclass
class Siege:
    """One server, and what was seen of it."""

    name: str
    live: LiveServer
    url: str
    reader: faults.Reader
    rss_before: int = 0
    rss_peak: int = 0
    descriptors_before: int = 0
    rss_beside: int = 0
    descriptors_beside: int = 0
    calm_gaps: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    streams_at_most: int = 0
    streams_after: int = 0
    descriptors_after: int = 0
    has_left: bool = False

    def processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.live.process.pid)
        return [parent, *parent.children(recursive=True)]

    def rss(self) -> int:
        return sum(process.memory_info().rss for process in self.processes())

    def descriptors(self) -> int:
        return sum(process.num_fds() for process in self.processes())

    def streams(self) -> int:
        body = httpx.get(f"{self.live.url}/metrics", timeout=20).text
        return next(
            int(sample.value)
            for family in text_string_to_metric_families(body)
            for sample in family.samples
            if sample.name == "ingestion_progress_streams_open"
        )

    def look(self) -> None:
        self.rss_peak = max(self.rss_peak, self.rss())
        self.streams_at_most = max(self.streams_at_most, self.streams())


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LiveProject]]:
    """By server, some on each database; of their own, whose logs are of nothing else."""
    folders = [tmp_path_factory.mktemp("faults") for _ in range(2)]
    file, database_url = folders[0] / "progress.sqlite3", postgresql().create_database()
    with (
        live_project(folders[0], f"sqlite:///{file}", **SETTINGS) as on_sqlite,
        live_project(folders[1], database_url, **SETTINGS) as on_postgresql,
    ):
        yield {name: on_sqlite if name == "daphne" else on_postgresql for name in SERVERS}


@pytest.fixture(scope="module")
def sieges(projects: dict[str, LiveProject]) -> dict[str, Siege]:
    """What became of each server."""
    job_id = uuid.uuid4().hex
    for project in set(projects.values()):
        project.python(faults.RUN_LARGE_FOR_EVER, job_id)
        project.wait_for_job(job_id)
    found = {}
    for name, project in projects.items():
        port = free_port()
        command = documented_command(name, port)
        command = [word.replace("127.0.0.1", "0.0.0.0") for word in command]
        process = project.spawn(sys.executable, "-m", *command)
        live = LiveServer(f"http://127.0.0.1:{port}", process, project)
        live.wait_until_ready()
        url = progress_url(live.url, job_id)
        found[name] = Siege(name, live, url, faults.Reader(url))
    try:
        besiege(list(found.values()))
    finally:
        for siege in found.values():
            siege.reader.close()
            siege.live.process.kill()
    return found


def besiege(sieges: list[Siege]) -> None:
    for siege in sieges:
        faults.reset_in_mid_frame(siege.url, 1)  # everything is loaded
        siege.streams()
    time.sleep(2)
    for siege in sieges:
        siege.calm_gaps, siege.reader.gaps = siege.reader.gaps, []
        siege.rss_before, siege.descriptors_before = siege.rss(), siege.descriptors()
    with contextlib.ExitStack() as held:
        attack(sieges, held)
        for siege in sieges:
            siege.rss_beside, siege.descriptors_beside = siege.rss(), siege.descriptors()
        for siege in sieges:
            faults.burst(siege.url, BURST)
            siege.look()
        until_only_the_reader_watches(sieges)
    for siege in sieges:
        siege.reader.close()
        siege.gaps = siege.reader.gaps
    until_descriptors_are_back(sieges)
    for siege in sieges:
        siege.live.process.terminate()
    for siege in sieges:
        with contextlib.suppress(subprocess.TimeoutExpired):
            siege.live.process.wait(9)
            siege.has_left = True


def attack(sieges: list[Siege], held: contextlib.ExitStack) -> None:
    """By all who come to stay; `held` is what makes them leave."""
    if faults.HAS_NAMESPACES:
        urls = [
            siege.url.replace("127.0.0.1", faults.HOST_ADDRESS)
            for siege in sieges
            for _ in range(VANISHED)
        ]
        held.enter_context(faults.vanishing_host(urls))
    for siege in sieges:
        crawling = faults.stalled(siege.url, CRAWLING)
        slow = [faults.half_a_request(siege.url) for _ in range(SLOW)]
        held.callback(faults.Trickle(crawling, slow).close)
        for client in faults.stalled(siege.url, STALLED):
            held.callback(client.close)
        for client in faults.half_closed(siege.url, HALF_CLOSED):
            held.callback(client.close)
        faults.reset_in_mid_frame(siege.url, RESET)
        siege.look()


def until_only_the_reader_watches(sieges: list[Siege]) -> None:
    """The others still hold their ends."""
    deadline = time.monotonic() + 40
    waiting = list(sieges)
    while waiting and time.monotonic() < deadline:
        for siege in list(waiting):
            siege.look()
            siege.streams_after = siege.streams()
            # It is between two of its own streams for a moment now and then.
            if siege.streams_after <= 1:
                waiting.remove(siege)
        time.sleep(0.2)


def until_descriptors_are_back(sieges: list[Siege]) -> None:
    deadline = time.monotonic() + 60
    for siege in sieges:
        siege.descriptors_after = siege.descriptors()
        while siege.descriptors_after > siege.descriptors_before + SPARE_DESCRIPTORS:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
            siege.descriptors_after = siege.descriptors()


@pytest.fixture(params=SERVERS)
def siege(request: pytest.FixtureRequest, sieges: dict[str, Siege]) -> Siege:
    return sieges[request.param]


def test_all_faulty_clients_were_connected(siege):
    vanished = VANISHED if faults.HAS_NAMESPACES else 0
    assert siege.streams_at_most >= STALLED + CRAWLING + vanished


def test_faulty_client_costs_a_descriptor_and_little_memory(siege):
    descriptors = siege.descriptors_beside - siege.descriptors_before
    assert SLOW <= descriptors <= HOSTILE
    assert siege.rss_beside - siege.rss_before < HOSTILE * MEBIBYTE / 8


def test_streams_end_although_their_clients_do_not_read(siege):
    assert siege.streams_after <= 1


def test_descriptors_are_given_back(siege):
    """But for those of the host that vanished: the kernel waits for it."""
    assert siege.descriptors_after <= siege.descriptors_before + SPARE_DESCRIPTORS


def test_memory_is_bounded(siege):
    """Most of it is 2,000 requests that came within a second."""
    assert siege.rss_peak - siege.rss_before < 150 * MEBIBYTE


@faults.needs_namespaces
def test_process_exits_although_bytes_for_a_vanished_host_are_unsent(siege):
    assert siege.has_left


def test_correct_client_gets_its_states_in_time(siege):
    """In multiples of what it is in calm, on a machine that three servers share."""
    assert len(siege.gaps) > 20
    calm = max(THROTTLE_SECONDS, statistics.median(siege.calm_gaps))
    assert statistics.median(siege.gaps) < 2 * calm
    assert statistics.quantiles(siege.gaps, n=10)[-1] < 5 * calm


def test_nobody_logged_a_traceback(sieges, projects):
    log = "".join(project.log.read_text() for project in set(projects.values()))
    assert log.count("sse_stream_started") > len(sieges) * 10
    assert "Traceback" not in log
