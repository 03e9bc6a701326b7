"""Several processes as one command: none of them is left, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.live import ROOT

pytestmark = pytest.mark.once

# Two programs: one ends when asked to, one is stubborn and has a child.
DRIVER = """
import asyncio, os, sys
from progress_project import processes
processes.HEALTHY_AFTER_SECONDS = 0.2
processes.FIRST_PAUSE_SECONDS = 0.1
programs = [processes.Program(name, ("sh", "-c", script), must_start=name == "web",
                              death_command=("echo", "died:"))
            for name, script in zip(sys.argv[1::2], sys.argv[2::2])]
async def run():
    supervisor = processes.Supervisor(programs, os.environ)
    async def greet():
        supervisor.say("hello")
    return await supervisor.run(greet())
sys.exit(asyncio.run(run()))
"""
STEADY = "echo ready; exec sleep 60"
STUBBORN = "trap '' INT TERM HUP; sleep 61 & echo ready; wait; wait"


@pytest.fixture
def supervise(tmp_path):
    """Starts a supervisor of programs, each a name and a shell script."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*programs: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "output").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, *programs],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def output(folder: Path) -> str:
    return (folder / "output").read_text()


def descendants(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def commands(process: subprocess.Popen[bytes]) -> list[list[str]]:
    found = []
    for child in descendants(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(child.cmdline())
    return found


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [
        process
        for process in processes
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_everything_soon(supervise, tmp_path, number):
    process = supervise("web", STEADY, "worker", STUBBORN)
    until(lambda: output(tmp_path).count("ready") == 2)
    family = descendants(process)
    assert len(family) == 3
    started = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=30) == 0
    assert time.monotonic() - started < 15
    assert alive(family) == []


def test_second_signal_does_not_wait(supervise, tmp_path):
    process = supervise("web", STEADY, "worker", STUBBORN)
    until(lambda: output(tmp_path).count("ready") == 2)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert time.monotonic() - started < 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a kill -9")
def test_programs_end_when_the_supervisor_is_killed(supervise, tmp_path):
    process = supervise("web", STEADY)
    until(lambda: "ready" in output(tmp_path))
    family = descendants(process)
    process.kill()
    process.wait()
    until(lambda: not alive(family))


def test_closed_output_ends_all_programs():
    script = "while echo line; do sleep 0.05; done"
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, "web", script], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=30) == 0


def test_lines_carry_the_name_of_their_program(supervise, tmp_path):
    process = supervise(
        "web", f"echo one; printf 'tw'; printf 'o\\nthree'; {STEADY}", "worker", STEADY
    )
    until(lambda: output(tmp_path).count("ready") == 2)
    process.terminate()
    process.wait()
    lines = output(tmp_path).splitlines()
    assert {"web    | one", "web    | two", "web    | threeready", "worker | ready"} <= set(lines)
    assert "hello" in lines


def test_web_server_that_does_not_start_ends_everything_with_a_message(supervise, tmp_path):
    process = supervise("web", "echo no database >&2; exit 3", "worker", STEADY)
    assert process.wait(timeout=30) == 1
    assert "web    | no database" in output(tmp_path)
    assert "The web ended (exit code 3) soon after its start: stopping." in output(tmp_path)


def test_worker_that_does_not_start_is_restarted_after_growing_pauses(supervise, tmp_path):
    process = supervise("web", STEADY, "worker", "echo no database >&2; exit 3")
    until(lambda: output(tmp_path).count("worker | no database") >= 3)
    ended = "The worker ended (exit code 3) soon after its start. It is started again in"
    said = [line for line in output(tmp_path).splitlines() if "ended" in line]
    assert said[:2] == [f"{ended} 0.1 s.", f"{ended} 0.2 s."]
    assert output(tmp_path).count("ready") == 1
    # The worker is started again and again, so one of its processes may be ending.
    assert commands(process).count(["sleep", "60"]) == 1
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_website_that_has_run_is_started_again_however_soon_it_dies_next(supervise, tmp_path):
    once = f"[ -e {tmp_path}/run ] && exit 3; touch {tmp_path}/run; sleep 0.4; exit 3"
    process = supervise("web", once, "worker", STEADY)
    until(lambda: "The web ended (exit code 3) soon after its start. It is" in output(tmp_path))
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_signal_during_a_pause_ends_it(supervise, tmp_path):
    process = supervise("web", STEADY, "worker", "exit 3")
    until(lambda: "started again in 1.6 s" in output(tmp_path))
    started = time.monotonic()
    process.terminate()
    assert process.wait(timeout=30) == 0
    assert time.monotonic() - started < 1


def test_death_later_on_is_a_new_start(supervise, tmp_path):
    process = supervise("web", STEADY, "worker", f"sleep 0.4; {STEADY}")
    until(lambda: output(tmp_path).count("ready") == 2)
    victim = next(child for child in descendants(process) if child.cmdline() == ["sleep", "60"])
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: output(tmp_path).count("ready") == 3)
    assert "ended (killed by SIGKILL) and is started again." in output(tmp_path)
    process.terminate()
    assert process.wait(timeout=30) == 0


def test_death_of_a_program_is_reported_with_its_host_and_process(supervise, tmp_path):
    process = supervise("web", STEADY, "worker", "echo pid $$; exec sleep 60")
    until(lambda: "pid" in output(tmp_path))
    pid = int(output(tmp_path).partition("worker | pid ")[2].split()[0])
    os.kill(pid, signal.SIGKILL)
    until(lambda: f"worker | died: {socket.gethostname()}/{pid}\n" in output(tmp_path))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
