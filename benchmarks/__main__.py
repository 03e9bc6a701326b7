"""`scripts/bench`: measures the project beside others, on this machine."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, picture
from benchmarks.candidates import BY_NAME as CANDIDATES
from benchmarks.kinds import BY_NAME as KINDS
from benchmarks.kinds import Kind
from benchmarks.processes import take_other_cpus
from benchmarks.report import summary, table
from benchmarks.stage import Stage

ROUNDS = 3
KEPT = Path("benchmarks/results")
TRIED = Path("var/bench/results")


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, one round: to try it")
    parser.add_argument(
        "--only", action="append", choices=CANDIDATES, metavar="NAME", help=", ".join(CANDIDATES)
    )
    parser.add_argument(
        "--kind", action="append", choices=KINDS, metavar="KIND", help=", ".join(KINDS)
    )
    parser.add_argument("--clients", type=int, help="instead of each kind's own number")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--rounds", type=int, help=f"default: {ROUNDS}")
    parser.add_argument(
        "--out",
        type=Path,
        help=f"folder of the JSON files; default: {KEPT} of a run without any option, else {TRIED}",
    )
    parser.add_argument(
        "--picture", type=Path, help="draws this SVG from the JSON files in --out; measures nothing"
    )
    options = parser.parse_args(argv)
    options.out = options.out or default_folder(options)
    return options


def default_folder(options: argparse.Namespace) -> Path:
    """Only a complete run with the default parameters replaces the results in the repository."""
    changes = ("quick", "only", "kind", "clients", "seconds", "rounds")
    return TRIED if any(getattr(options, name) for name in changes) else KEPT


def run(kind: Kind, stage: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """Measures each candidate once per round: a machine that changes its speed affects all."""
    clients = options.clients or (kind.quick_clients if options.quick else kind.clients)
    seconds = options.seconds or (kind.quick_seconds if options.quick else kind.seconds)
    names = [name for name in kind.candidates if not options.only or name in options.only]
    rounds: list[dict[str, dict[str, Any]]] = []
    failures: list[dict[str, Any]] = []
    for number in range(options.rounds or (1 if options.quick else ROUNDS)):
        rounds.append({})
        for name in names:
            since = time.monotonic()
            try:
                candidate = CANDIDATES[name]
                client_count = min(clients, candidate.clients_at_most)
                result = kind.measure(stage, candidate, clients=client_count, seconds=seconds)
            except Exception as error:  # noqa: BLE001  (the others are still measured)
                reason = f"{type(error).__name__}: {error}"
                failures.append({"round": number + 1, "candidate": name, "error": reason})
                say(f"{kind.name} {number + 1}: {name} FAILED\n{traceback.format_exc(limit=-2)}")
                continue
            rounds[-1][name] = result
            say(f"{kind.name} {number + 1}: {name} ({time.monotonic() - since:.0f} s)")
    return {
        "kind": kind.name,
        "title": kind.title,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.description(stage.load),
        "clients": clients,
        "seconds": seconds,
        "summary": summary(kind, rounds),
        "rounds": rounds,
        "failures": failures,
    }


def main() -> int:
    options = arguments()
    out: Path = options.out
    if options.picture:
        options.picture.write_text(picture.draw(out))
        return 0
    # SIGTERM ends the benchmark like Ctrl-C: every `finally` runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have set it to ignored
    take_other_cpus()
    out.mkdir(parents=True, exist_ok=True)
    failed = False
    kinds = [KINDS[name] for name in options.kind or KINDS]
    with tempfile.TemporaryDirectory(prefix="ingestion-progress-bench-") as folder:
        stage = Stage(Path(folder))
        for kind in kinds:
            if options.only and not set(options.only) & set(kind.candidates):
                continue
            result = run(kind, stage, options)
            path = out / f"{datetime.now(UTC):%Y-%m-%d}-{kind.name}.json"
            path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
            failed |= bool(result["failures"])
            print(table(kind, result), end="\n\n", flush=True)
            say(f"{os.path.relpath(path)} has the details.")
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("Interrupted; nothing is left running.")
        sys.exit(130)
