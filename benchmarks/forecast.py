"""`python -m benchmarks.forecast`: how good forecasts are, beside the linear formula.

Over generated traces, and over uneven documents that the reference ingestion really ingests, one
after the other, with its embedded defaults. Prints tables, and writes JSON to `--out`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progress_project.settings")
django.setup()

from benchmarks.traces import Replay, replays  # noqa: E402  (they need the models)
from ingestion_progress.wire.forecast.scores import Summary, summarise, table  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
# The method was developed with other seeds.
SEEDS = (101, 102, 103)
DOCUMENTS = 80
WORDS = ["graph", "vector", "chunk", "model", "query", "index", "table", "field", "store", "token"]
WORDS += ["stream", "queue", "worker", "Berlin", "Paris", "Turing", "Hopper", "Lovelace", "Kepler"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--pipelines", type=int, default=60, help="per seed")
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="0: none")
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "bench" / "results")
    return parser.parse_args()


def of_traces(seeds: Sequence[int], *, pipelines: int) -> dict[str, Any]:
    results = {}
    for title, former in (("with five former jobs", 5), ("without history", 0)):
        found = list(replays(seeds, pipelines=pipelines, former=former))
        summaries = summarise(score for replay in found for score in replay.scores)
        print(f"{len(found)} generated jobs {title}\n{table(summaries)}{bars(found)}", flush=True)
        results[title] = {
            "jobs": len(found),
            "scores": as_dicts(summaries),
            "bar_points": spread([each.bar_distance for each in found]),
            "weighted_bar_points": spread([each.weighted_bar_distance for each in found]),
        }
    return results


def bars(found: Sequence[Replay]) -> str:
    ours, weighted = (
        median(getattr(each, name) for each in found)
        for name in ("bar_distance", "weighted_bar_distance")
    )
    return f"  bar off the straight line, median points: {ours:.1f}; by weights {weighted:.1f}\n"


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "mean": mean(values), "worst": max(values)}


def as_dicts(summaries: dict[int, Summary]) -> dict[int, dict[str, float]]:
    return {percent: asdict(summary) for percent, summary in summaries.items()}


def of_documents(count: int) -> dict[str, Any]:
    """Ingests so many documents with a database and stores of their own."""
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts"
        texts.mkdir()
        write_documents(texts, count)
        env = os.environ | {
            "DATABASE_URL": f"sqlite:///{folder}/a.sqlite3",
            "VAR_DIR": folder,
            "ENV_FILE": f"{folder}/no.env",
            "DEBUG": "true",
        }
        manage(env, "migrate", "--verbosity", "0")
        manage(env, "ingest", str(texts))
        print(manage(env, "forecast_report"), flush=True)
        report: dict[str, Any] = json.loads(manage(env, "forecast_report", "--json"))
        return report


def manage(env: dict[str, str], *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def write_documents(folder: Path, count: int) -> None:
    """Texts of log-normal length, of several kinds."""
    chance = random.Random(7)
    for number in range(count):
        paragraphs = max(20, round(chance.lognormvariate(7.8, 0.8)))
        suffix, heading = chance.choice([("txt", ""), ("md", "# "), ("html", "<h1>")])
        lines = []
        for paragraph in range(paragraphs):
            if paragraph % 20 == 0:
                lines.append(f"{heading}Part {paragraph}")
            words = chance.choices(WORDS, k=chance.randint(30, 90))
            lines.append(f"{' '.join(words).capitalize()}.")
        text = "\n\n".join(lines)
        (folder / f"{number:03}.{suffix}").write_text(text, encoding="utf-8")


def main() -> None:
    options = arguments()
    load_before = os.getloadavg()[0]
    result: dict[str, Any] = {
        "title": "Forecasts beside the linear formula",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        "traces": of_traces(options.seeds, pipelines=options.pipelines),
    }
    if options.documents:
        result["documents"] = of_documents(options.documents)
    # The load average of the last minute: a busy machine makes the speed of jobs uneven.
    result["machine"]["load"] = {"before": load_before, "after": os.getloadavg()[0]}
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"{datetime.now(UTC):%Y-%m-%d}-forecast.json"
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
