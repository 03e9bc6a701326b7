"""The benchmark, small: its numbers are of this machine and not asserted.

Its tables are of results that are made up here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from benchmarks import ingestion, viewers
from benchmarks.__main__ import KEPT, TRIED, arguments
from benchmarks.client import load_command
from benchmarks.kinds import BY_NAME as KINDS
from benchmarks.picture import draw_ingestion
from benchmarks.report import summary, table
from tests.support.api import JOBS
from tests.support.live import ROOT

pytestmark = pytest.mark.once

PYTHON = ROOT / "var" / "bench-venv" / "bin" / "python"
CANDIDATES = ("bare", "raw-uvicorn")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict:
    if not PYTHON.exists():
        pytest.skip("by design: only scripts/bench installs the peers, when somebody measures")
    folder: Path = tmp_path_factory.mktemp("bench")
    only = [argument for name in CANDIDATES for argument in ("--only", name)]
    options = ["--kind", "full-speed", "--clients", "5", "--seconds", "0.5", "--rounds", "1"]
    done = subprocess.run(
        [PYTHON, "-m", "benchmarks", *only, *options, "--out", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "full-speed 1: bare" in done.stderr
    assert "bare asyncio" in done.stdout
    (path,) = folder.glob("*-full-speed.json")
    return json.loads(path.read_text())


def test_benchmark_starts_without_settings():
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-m", "benchmarks", "--help"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_frames_are_counted_for_every_candidate(result):
    (measured,) = result["rounds"]
    assert set(measured) == set(CANDIDATES)
    for figures in measured.values():
        assert figures["streams"] == 5
        assert figures["frames_per_second"] > 0
        assert figures["age_ms"]["count"] > 0
        assert 1000 < figures["bytes_per_frame"] < 2500


def test_each_figure_is_a_ratio_to_the_bare_loop_of_its_round(result):
    assert result["failures"] == []
    for name in CANDIDATES:
        ratio = result["summary"][name]["frames_per_second"]["to_bare"]
        assert ratio["min"] <= ratio["median"] <= ratio["max"]
    assert result["summary"]["bare"]["frames_per_second"]["to_bare"]["median"] == 1


def test_it_is_written_down_on_what_it_was_measured(result):
    assert {"cpu", "kernel", "python", "packages", "load_client"} <= set(result["machine"])


class TestFolder:
    def test_a_complete_run_replaces_the_results(self):
        assert arguments([]).out == KEPT
        assert (ROOT / KEPT).is_dir()

    @pytest.mark.parametrize(
        "part",
        ["--quick", "--kind=paced", "--only=bare", "--clients=10", "--seconds=1", "--rounds=1"],
    )
    def test_a_partial_run_does_not_replace_the_results(self, part):
        assert arguments([part]).out == TRIED

    def test_a_folder_that_is_named_is_used(self):
        assert arguments(["--quick", "--out=elsewhere"]).out == Path("elsewhere")

    def test_the_picture_shows_the_results_in_the_repository(self):
        assert arguments(["--picture=fan-out.svg"]).out == KEPT


def paced(**cpu_us_per_frame: float) -> dict:
    """A round, by the candidates' names with `_` for `-`."""
    return {
        name.replace("_", "-"): {"cpu_us_per_frame": us} for name, us in cpu_us_per_frame.items()
    }


def printed(kind: str, rounds: list[dict], failures: list[dict] = ()) -> list[str]:
    summed = summary(KINDS[kind], rounds)
    result = {"summary": summed, "rounds": rounds, "failures": failures}
    return table(KINDS[kind], result).splitlines()


class TestComparisonWithThePeers:
    def test_it_is_with_the_best_peer_of_the_same_round(self):
        rounds = [
            paced(ours_uvicorn=10, ours_granian=5, fastapi=30, sse_starlette=40),
            paced(ours_uvicorn=10, ours_granian=8, fastapi=50, sse_starlette=40),
            paced(ours_uvicorn=20, ours_granian=10, fastapi=40, django_eventstream=90),
        ]
        assert printed("paced", rounds)[-1] == (
            "CPU µs/frame, times better than the best peer:"
            " uvicorn 3.00× (2.00–4.00), granian 5.00× (4.00–6.00)"
        )

    def test_what_is_no_peer_is_not_compared(self):
        rounds = [paced(ours_uvicorn=10, bare=5, raw_uvicorn=9, fastapi_shared=12, fastapi=35)]
        assert printed("paced", rounds)[-1].endswith(": uvicorn 3.50× (3.50–3.50)")

    def test_more_frames_a_second_are_better(self):
        frames = {"ours-uvicorn": 60_000, "fastapi": 10_000, "sse-starlette": 15_000}
        rounds = [{name: {"frames_per_second": number} for name, number in frames.items()}]
        assert printed("full-speed", rounds)[-1] == (
            "frames/s, times better than the best peer: uvicorn 4.00× (4.00–4.00)"
        )

    def test_a_worse_candidate_is_less_than_one_time_better(self):
        waits = {"ours-uvicorn": 200.0, "fastapi": 150.0}
        rounds = [{name: {"first_frame_ms": {"p99": ms}} for name, ms in waits.items()}]
        assert printed("arrivals", rounds)[-1].endswith(": uvicorn 0.75× (0.75–0.75)")

    def test_a_round_without_ours_or_without_a_peer_compares_nothing(self):
        rounds = [paced(ours_uvicorn=10), paced(fastapi=30), paced(ours_uvicorn=10, fastapi=20)]
        assert printed("paced", rounds)[-1].endswith(": uvicorn 2.00× (2.00–2.00)")
        assert "better" not in printed("paced", rounds[:2])[-1]

    @pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
    def test_it_is_by_a_figure_of_the_table(self, kind):
        assert kind.compared_by in ("", *(path for _, path, _ in kind.figures))


def test_connections_and_queries_are_printed_for_each_number_of_clients():
    by_clients = [
        {"clients": 0, "queries_per_second": 0.0, "connections": 2},
        {"clients": 10, "queries_per_second": 6.5, "connections": 4},
    ]
    heading, row = printed("queries", [{"ours-uvicorn": {"by_clients": by_clients}}])[1:]
    assert heading.split()[:6] == ["0", "clients", "connections", "10", "clients", "connections"]
    assert row.removeprefix("this project on uvicorn").split()[:5] == ["0", "2", "6.5", "4", "–"]


def test_each_way_of_a_wake_up_has_columns_and_a_missing_one_a_dash():
    by_notify = {"other process, wake-ups on": {"p50": 20.4, "p99": 35.1}}
    heading, row = printed("latency", [{"ours-uvicorn": {"write_to_browser_ms": by_notify}}])[1:]
    assert "other process, wake-ups by Redis, p50 ms" in heading
    assert row.removeprefix("this project on uvicorn").split()[:3] == ["20.4", "35.1", "–"]


class Frames(BaseHTTPRequestHandler):
    """Answers each request with one frame, and keeps its cookie."""

    def do_GET(self):
        self.server.cookies.append(self.headers["Cookie"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'data: {"started_at":1,"elapsed_ms":2,"more":0}\n\n')

    def log_message(self, *_):
        pass


@pytest.fixture
def frames():
    with ThreadingHTTPServer(("127.0.0.1", 0), Frames) as server:
        server.cookies = []
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("language", ["C, where there is a compiler", "Python"])
class TestLoadClient:
    @pytest.fixture
    def command(self, language, tmp_path, frames):
        in_python = [sys.executable, ROOT / "benchmarks" / "load.py"]
        command = in_python if language == "Python" else load_command(tmp_path)
        return [*command, "127.0.0.1", str(frames.server_port), "/", "3", "1", "8"]

    def run(self, command):
        """What it says once each client has its frame; it ends with its input."""
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            return json.loads(process.stdout.readline())

    def test_each_client_sends_a_different_header(self, command, frames, tmp_path):
        headers = tmp_path / "headers"
        headers.write_bytes(b"Cookie: a=1\r\nCookie: b=2\r\nCookie: c=3\r\n")
        assert self.run([*command, headers])["first_frame_ms"]["count"] == 3
        assert sorted(frames.cookies) == ["a=1", "b=2", "c=3"]

    def test_clients_without_headers_send_none(self, command, frames):
        assert self.run(command)["first_frame_ms"]["count"] == 3
        assert frames.cookies == [None] * 3


@pytest.mark.django_db
def test_viewers_are_signed_in_as_users_who_may_watch(client, settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    assert client.get(JOBS).status_code == 401
    headers = list(viewers.headers(2))
    assert list(viewers.headers(2)) != headers, "the same users, with sessions of their own"
    assert User.objects.count() == 2
    for header in headers:
        cookie = header.removeprefix("Cookie: ")
        assert client.get(JOBS, headers={"Cookie": cookie}).status_code == 200


class TestFailures:
    def test_the_table_has_the_rounds_and_failures_of_a_candidate(self):
        rounds = [paced(bare=5, fastapi=30), paced(bare=5)]
        failures = [{"round": 2, "candidate": "fastapi", "error": "TooFewStreams: 9 of 10"}]
        assert printed("paced", rounds, failures)[-1] == (
            "FastAPI, a generator per client: measured in 1 of 2 rounds: TooFewStreams: 9 of 10"
        )

    def test_one_that_was_never_measured_is_named_with_each_reason_once(self):
        errors = ["DidNotStart: no port", "TooFewStreams: 9 of 10", "DidNotStart: no port"]
        failures = [{"candidate": "fastapi", "error": error} for error in errors]
        assert printed("paced", [paced(bare=5)] * 3, failures)[-1].endswith(
            "measured in 0 of 3 rounds: DidNotStart: no port; TooFewStreams: 9 of 10"
        )

    def test_a_long_reason_is_shortened(self):
        failures = [{"candidate": "fastapi", "error": "DidNotStart: " + "a line\n" * 300}]
        (line,) = [line for line in printed("paced", [{}], failures) if "DidNotStart" in line]
        assert line.endswith(" …")
        assert len(line) < 200

    def test_a_run_without_failures_prints_no_line_about_them(self):
        assert len(printed("paced", [paced(bare=5)])) == 3


class TestPictureOfIngestion:
    def test_it_shows_the_result_in_the_repository(self):
        shown = (ROOT / "docs" / "images" / "ingestion.svg").read_text()
        assert shown == draw_ingestion(ROOT / KEPT)

    def test_documents_are_of_five_formats_and_each_is_different(self, tmp_path: Path):
        ingestion.mixed(tmp_path)
        files = list(tmp_path.iterdir())
        assert {path.suffix for path in files} == {".txt", ".md", ".html", ".docx", ".pdf"}
        assert len({path.read_bytes() for path in files}) == len(files) == ingestion.MIXED
