"""`manage.py forecast_report`: how good the forecasts of ended jobs were."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from ingestion_progress.management.terminal.command import TerminalCommand
from ingestion_progress.models import JobSamples
from ingestion_progress.wire.forecast import History
from ingestion_progress.wire.forecast.scores import Score, Summary, summarise, table

DEFAULT_JOBS = 1000
KINDS = {True: "with a history of earlier jobs", False: "without history"}


class Command(TerminalCommand):
    help = (
        "Compares what was forecast at 10, 25, 50 and 75 % of the time of jobs that succeeded with "
        "how long they really took, beside the linear formula (the mean speed so far, by the "
        "declared weights). An error counts as at most 100 %, and an unknown time as 100 %."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--last",
            type=int,
            default=DEFAULT_JOBS,
            metavar="N",
            help=f"The newest N jobs; default: {DEFAULT_JOBS}.",
        )
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = scores(max(0, options["last"]))
        if options["json"]:
            self.stdout.write(as_json(found))
            return
        if not any(found.values()):
            self.stdout.write("No job that took at least a second has succeeded yet.")
        for has_history, kind in KINDS.items():
            if by_percent := summarise(found[has_history]):
                jobs = next(iter(by_percent.values())).jobs
                self.stdout.write(f"{jobs} jobs {kind}\n{table(by_percent)}")


def scores(last: int) -> dict[bool, list[Score]]:
    """The scores of the newest jobs, by whether their forecasts had a history."""
    ended = JobSamples.objects.filter(succeeded_at__isnull=False).order_by("-succeeded_at")
    found: dict[bool, list[Score]] = {True: [], False: []}
    for history, stored in ended.values_list("history", "scores")[:last]:
        has_history = History.from_json(history or {}).former_jobs > 0
        found[has_history] += [Score.of(score) for score in stored or ()]
    return found


def as_json(found: dict[bool, list[Score]]) -> str:
    names = {True: "with_history", False: "without_history"}
    return json.dumps(
        {name: _as_dicts(summarise(found[kind])) for kind, name in names.items()}, indent=2
    )


def _as_dicts(by_percent: dict[int, Summary]) -> dict[int, dict[str, float]]:
    return {percent: asdict(summary) for percent, summary in by_percent.items()}
