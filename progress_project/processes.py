"""Runs several programs as one command with a common output; they stop together."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Streams get 0.8 s to end; a program that still runs after this is killed.
STOP_SECONDS = 2.5
# A program that ran for longer is restarted at once.
HEALTHY_AFTER_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 30.0
READ_BYTES = 65536

SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Program:
    """A command that is restarted when it exits. Its output lines start with its name.

    If it `must_start` and never runs for HEALTHY_AFTER_SECONDS, all programs are stopped.
    """

    name: str
    command: Sequence[str]
    must_start: bool = False
    death_command: Sequence[str] = ()
    """Command to run after the program has died, with its "host/pid" as the last argument."""


class Supervisor:
    """Runs programs until a signal, or until one that must start fails to, and stops them all."""

    def __init__(self, programs: Sequence[Program], env: Mapping[str, str]) -> None:
        self._programs = programs
        self._env = env
        self._width = max(len(program.name) for program in programs)
        self._groups: set[int] = set()
        self._reports: set[asyncio.Task[Any]] = set()
        self._stopping = asyncio.Event()
        self._exit_code = 0

    async def run(self, greet: Coroutine[Any, Any, None]) -> int:
        """Starts the programs and runs `greet` beside them.

        Returns the exit code: 0 after a signal, 1 if a program that must start did not.
        """
        self._on_signal(self._stopping.set)
        tasks = [asyncio.create_task(self._keep(program)) for program in self._programs]
        greeting = asyncio.create_task(greet)
        await self._stopping.wait()
        greeting.cancel()
        self._on_signal(lambda: self._kill(signal.SIGKILL))  # a second Ctrl-C does not wait
        self._kill(signal.SIGTERM)
        await asyncio.wait(tasks, timeout=STOP_SECONDS)
        self._kill(signal.SIGKILL)
        await asyncio.wait([*tasks, *self._reports])
        return self._exit_code

    def say(self, text: str) -> None:
        self._write(f"{text}\n".encode())

    def _on_signal(self, act: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, act)
        loop.add_signal_handler(signal.SIGTERM, act)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # unless started by nohup
            loop.add_signal_handler(signal.SIGHUP, act)

    def _kill(self, number: signal.Signals) -> None:
        for group in self._groups:
            _kill_group(group, number)

    async def _keep(self, program: Program) -> None:
        """Restarts a program whenever it exits, after growing pauses if it exits soon."""
        pause, was_healthy = 0.0, False
        while not self._stopping.is_set():
            started = time.monotonic()
            reason = await self._run_once(program)
            if self._stopping.is_set():
                return
            if time.monotonic() - started > HEALTHY_AFTER_SECONDS:
                pause, was_healthy = 0.0, True
                self.say(f"The {program.name} ended ({reason}) and is started again.")
            elif program.must_start and not was_healthy:
                self.say(f"The {program.name} ended ({reason}) soon after its start: stopping.")
                self._exit_code = 1
                self._stopping.set()
            else:
                pause = min(max(2 * pause, FIRST_PAUSE_SECONDS), MAX_PAUSE_SECONDS)
                self.say(
                    f"The {program.name} ended ({reason}) soon after its start. "
                    f"It is started again in {pause:g} s."
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run_once(self, program: Program) -> str:
        process = await asyncio.create_subprocess_exec(
            *program.command,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C then reaches the supervisor alone, which ends each process group.
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        self._groups.add(process.pid)
        relay = asyncio.create_task(self._relay(program, process))
        code = await process.wait()
        if not self._stopping.is_set():
            _kill_group(process.pid, signal.SIGKILL)
            self._groups.remove(process.pid)
            if code and program.death_command:
                self._report_death(program, process.pid)
        await asyncio.wait([relay], timeout=0.5)  # its last lines
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _report_death(self, program: Program, pid: int) -> None:
        """Does not wait for the report, so the program starts again at once."""
        writer = f"{socket.gethostname()}/{pid}"
        report = Program(program.name, (*program.death_command, writer))
        task = asyncio.create_task(self._run_once(report))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _relay(self, program: Program, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        head = f"{program.name:{self._width}} | ".encode()
        rest = b""
        while chunk := await process.stdout.read(READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            self._write(b"".join(head + line + b"\n" for line in lines))
        if rest:
            self._write(head + rest + b"\n")

    def _write(self, data: bytes) -> None:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError:  # the terminal or the pipe is closed
            self._stopping.set()


def _kill_group(group: int, number: signal.Signals) -> None:
    """Sends a signal to a program and to the processes that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _end_with_parent() -> None:
    """Asks Linux to send SIGTERM to this process when the supervisor is killed with SIGKILL."""
    if LIBC:
        LIBC.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
