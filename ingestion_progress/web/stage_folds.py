"""Which stages are folded in a job that has many.

`stage-folds.js` has the same function and test cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext

from ingestion_progress.models.statuses import ShownStageStatus
from ingestion_progress.web import formatting

# With more stages than this, some can be folded.
MANY_STAGES = 12
# A job that has ended shows this many of the longest done stages.
LONGEST_SHOWN = 12
# Fewer stages than this are not folded.
LEAST_FOLDED = 4
FOLDS: dict[str, str] = {
    ShownStageStatus.COMPLETED: "done",
    ShownStageStatus.SKIPPED: "done",
    ShownStageStatus.PENDING: "pending",
    ShownStageStatus.NOT_RUN: "pending",
}

FoldedStage = tuple[str, bool, int]
"""Its shown status, whether items of it failed, and its length in milliseconds."""


def folds(stages: Sequence[FoldedStage], *, is_over: bool) -> list[str]:
    """The fold of each stage: "done", "pending", or empty if the stage is always shown.

    While the job runs, stages that are done or have not started are folded. After its end the
    longest done stages are shown, because its page is about them.
    """
    found = ["" if failed else FOLDS.get(status, "") for status, failed, _ in stages]
    if len(stages) <= MANY_STAGES:
        return [""] * len(stages)
    if not is_over:
        return found
    done = (place for place, fold in enumerate(found) if fold == "done")
    for place in sorted(done, key=lambda place: -stages[place][2])[:LONGEST_SHOWN]:
        found[place] = ""
    return [fold if found.count(fold) >= LEAST_FOLDED else "" for fold in found]


def add_folds(view: dict[str, Any], *, is_over: bool) -> None:
    """Adds the folds to the view of a job and to those of its stages."""
    stages = view["stages"]
    given = [
        (stage["status"], bool(stage.get("has_failed")), stage.get("duration_ms", 0))
        for stage in stages
    ]
    found = folds(given, is_over=is_over)
    for stage, fold in zip(stages, found, strict=True):
        stage["folded"] = fold
    view["has_many_stages"] = len(stages) > MANY_STAGES
    view["folds"] = fold_texts(found.count("done"), found.count("pending"), is_over=is_over)


def fold_texts(done: int, pending: int, *, is_over: bool) -> dict[str, str]:
    of_done = gettext("Show %(number)s shorter") if is_over else gettext("Show %(number)s done")
    return {
        "done": of_done % {"number": formatting.count(done)},
        "pending": gettext("Show %(number)s not started") % {"number": formatting.count(pending)},
    }
