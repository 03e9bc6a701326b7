"""Several processes run as one: their output on one terminal, and one end for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

# Streams are given 0.8 s to end; what has not left by then is not going to.
STOP_SECONDS = 2.5
# What dies younger than this would die again: the cause is in its last lines.
RESTART_AFTER_SECONDS = 5.0
READ_BYTES = 65536

SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Program:
    """A command that is kept running, and the name that its lines carry."""

    name: str
    command: Sequence[str]


class Supervisor:
    """Runs programs until a signal or a hopeless death; then none of them is left."""

    def __init__(self, programs: Sequence[Program], env: Mapping[str, str]) -> None:
        self._programs = programs
        self._env = env
        self._width = max(len(program.name) for program in programs)
        self._groups: dict[str, int] = {}
        self._stopping = asyncio.Event()
        self._exit_code = 0

    async def run(self, greet: Callable[[], Awaitable[None]]) -> int:
        """Starts the programs and awaits `greet` beside them.

        Returns an exit code: 0 after a signal, 1 where a program could not be kept running.
        """
        self._on_signal(self._stopping.set)
        keepers = [asyncio.create_task(self._keep(program)) for program in self._programs]
        greeting = asyncio.ensure_future(greet())
        await self._stopping.wait()
        greeting.cancel()
        self._on_signal(lambda: self._send(signal.SIGKILL))  # a second Ctrl-C does not wait
        self._send(signal.SIGTERM)
        await asyncio.wait(keepers, timeout=STOP_SECONDS)
        self._send(signal.SIGKILL)
        await asyncio.wait(keepers)
        return self._exit_code

    def say(self, text: str) -> None:
        self._write(f"{text}\n".encode())

    def _on_signal(self, act: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, act)
        loop.add_signal_handler(signal.SIGTERM, act)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # unless started by nohup
            loop.add_signal_handler(signal.SIGHUP, act)

    def _send(self, number: signal.Signals) -> None:
        for name in self._groups:
            self._send_to(name, number)

    def _send_to(self, name: str, number: signal.Signals) -> None:
        """To the program's process and to whatever that one started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._groups[name], number)

    async def _keep(self, program: Program) -> None:
        """Starts a program, and starts it again where that may help."""
        while not self._stopping.is_set():
            started = time.monotonic()
            process = await self._start(program)
            relay = asyncio.create_task(self._relay(program, process))
            reason = _reason(await process.wait())
            if not self._stopping.is_set():
                self._send_to(program.name, signal.SIGKILL)
            await asyncio.wait([relay], timeout=0.5)  # its last words
            if self._stopping.is_set():
                return
            if time.monotonic() - started > RESTART_AFTER_SECONDS:
                self.say(f"The {program.name} ended ({reason}) and is started again.")
            else:
                self.say(f"The {program.name} ended ({reason}) soon after its start: stopping.")
                self._exit_code = 1
                self._stopping.set()

    async def _start(self, program: Program) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *program.command,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A group of its own: Ctrl-C reaches the supervisor alone, which ends each group.
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        self._groups[program.name] = process.pid
        return process

    async def _relay(self, program: Program, process: asyncio.subprocess.Process) -> None:
        """Its output, line by line, under its name."""
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
        except OSError:  # the terminal, or who read the pipe, has gone
            self._stopping.set()


def _end_with_parent() -> None:
    """Linux ends this process if the supervisor is killed without a chance to do it."""
    if LIBC:
        LIBC.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _reason(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
