"""What a browser does while the list shows many running jobs: `python -m benchmarks.list_page`.

Each job changes twice a second. Every few seconds one ends and another begins. Counts the writes
into the page, takes the share of a core of script and style from Chromium, and the cumulative
layout shift. JSON goes to `--out`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.processes import ROOT
from tests.support.chromium import DESKTOP, FLAGS, find_chromium
from tests.support.live import live_project
from tests.support.running_jobs import RUN, SHIFT, WATCH

SETTLE_MS = 8_000
DURATIONS = ("ScriptDuration", "RecalcStyleDuration", "LayoutDuration", "TaskDuration")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--arrivals", type=float, default=10.0, help="seconds between two")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "bench" / "results")
    return parser.parse_args()


def one_round(options: argparse.Namespace) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as folder,
        live_project(Path(folder), f"sqlite:///{folder}/jobs.sqlite3") as project,
    ):
        site = project.serve("daphne")
        project.python(RUN, str(options.jobs), str(options.arrivals))
        return measure(site.url, options.seconds)


def measure(url: str, seconds: int) -> dict[str, Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        page = browser.new_page(viewport=DESKTOP)
        page.set_default_timeout(120_000)
        page.goto(url)
        page.wait_for_timeout(SETTLE_MS)
        measured = measure_page(page, seconds)
        browser.close()
    return measured


def measure_page(page: Page, seconds: int) -> dict[str, Any]:
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable")
    page.evaluate(WATCH)
    began = page.evaluate("performance.now()")
    before = durations(client)
    page.wait_for_timeout(seconds * 1000)
    after = durations(client)
    writes = page.evaluate("writes")
    shares = {name: (after[name] - before[name]) / seconds * 100 for name in DURATIONS}
    return {
        "rows": page.locator('[data-job][data-status="running"]').count(),
        "writes_per_second": round(len(writes) / seconds, 1),
        "writes_of_the_value_that_was_there": sum(each["isSame"] for each in writes),
        "writes_overwritten_at_once": sum(each["isRepeated"] for each in writes),
        "most_written": dict(Counter(each["what"] for each in writes).most_common(6)),
        "repeated": dict(Counter(each["what"] for each in writes if each["isRepeated"])),
        "script_and_style_percent": round(sum(list(shares.values())[:2]), 2),
        "percent_of_a_core": {name: round(share, 2) for name, share in shares.items()},
        "layout_shift": round(page.evaluate(SHIFT, began), 4),
    }


def durations(client: Any) -> dict[str, float]:
    """The durations in seconds since the page began."""
    metrics = client.send("Performance.getMetrics")["metrics"]
    return {each["name"]: each["value"] for each in metrics if each["name"] in DURATIONS}


def main() -> None:
    options = arguments()
    found = [one_round(options) for _ in range(options.rounds)]
    result = {
        "kind": "list-page",
        "machine": f"{os.cpu_count()} × {platform.machine()}, Python {platform.python_version()}",
        "load_average": round(os.getloadavg()[0], 1),
        "jobs": options.jobs,
        "seconds": options.seconds,
        "rounds": found,
    }
    print(json.dumps(result, indent=1))
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{datetime.now(UTC):%Y-%m-%d}-list-page.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
