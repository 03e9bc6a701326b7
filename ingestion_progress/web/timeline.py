"""The bars of the stages over time. Times are milliseconds since the start of the attempt.

`timeline.js` computes the same for the live page.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from django.utils.timezone import localdate
from django.utils.translation import gettext

from ingestion_progress.models import JobSamples, Stage
from ingestion_progress.models.spans import Span, elapsed_ms, stage_span
from ingestion_progress.models.statuses import Liveness, StageStatus
from ingestion_progress.web import charts, formatting
from ingestion_progress.web.formatting import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from ingestion_progress.web.stage_folds import add_folds
from ingestion_progress.web.usual_runs import UsualRun
from ingestion_progress.wire.snapshots import Snapshot

Context = dict[str, Any]
Counts = list[tuple[int, int, int]]
"""The counts of one stage: milliseconds, processed and total."""

# Between two labels of the axis.
STEPS_MS = (
    *(100, 200, 500),
    *(n * SECOND_MS for n in (1, 2, 5, 10, 15, 30)),
    *(n * MINUTE_MS for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR_MS for n in (1, 2, 3, 6, 12)),
    *(n * DAY_MS for n in (1, 2, 5, 10, 20, 50, 100)),
)
MAX_STEPS = 4
# A usual run that is longer leaves the axis, so that the bars of this one stay visible.
MAX_USUAL_SHARE = 2
FULL_PATH = "M0 100V0H100V100Z"
# Between two points of an area, in percent of its bar.
LEAST_DISTANCE = 1.5
# What is longer than the axis ends outside of it.
MAX_PERCENT = 101
# A label further to the right ends at its tick.
LAST_LABEL = 0.94


def add_timeline(
    view: Context, snapshot: Snapshot, stored: JobSamples | None, usual: UsualRun, now: datetime
) -> None:
    """Adds what the timeline shows to the view of a job, and to those of its stages."""
    job = snapshot.job
    forecast = snapshot.forecast(now)
    is_moving = forecast is not None and job.liveness(now) is Liveness.WORKING
    left_ms = forecast.likely_ms if forecast and is_moving else 0
    width_ms = axis_ms(elapsed_ms(job, now), left_ms, usual.whole_ms, is_over=job.is_finished)
    ticks = ticks_path(width_ms)
    for position, stage in enumerate(snapshot.stages):
        shown, span = view["stages"][position], stage_span(job, stage, now)
        counts = counts_of(stored, stage.name)
        usual_span = usual.spans.get(stage.name)
        shown["time"] = {
            "bar": share(span, width_ms),
            "usual": share(usual_span, width_ms),
            "done": done_path(stage, span, counts),
            "ticks": ticks,
        }
        shown["start"], shown["end"] = ("", "") if span is None else _ends(stage, span)
        shown["usual"] = f"{usual_span.start_ms} {usual_span.end_ms}" if usual_span else ""
        shown["rate"] = stage_rate(stage, span, counts, job.attempt)
    view["axis"] = axis_view(width_ms)
    view["is_over"] = job.is_finished
    view["usual"] = formatting.exact_duration(usual.whole_ms) if usual.jobs else ""
    view["usual_ms"], view["usual_note"] = usual.whole_ms, formatting.former_jobs(usual.jobs)
    add_folds(view, is_over=job.is_finished)
    view["started_ms"] = math.floor(job.started_at.timestamp() * 1000) if job.started_at else ""
    view["end_label"] = gettext("Ended") if job.is_finished else gettext("Expected end")
    end_at = job.finished_at or (now + timedelta(milliseconds=left_ms) if left_ms else None)
    view["end_at"] = end_at
    view["ends_today"] = bool(end_at and localdate(end_at) == localdate(now))


def axis_ms(elapsed: int, left_ms: int, usual_ms: int, *, is_over: bool) -> int:
    """The length of the axis: a whole number of steps while the job runs."""
    usual = usual_ms if not elapsed else min(usual_ms, elapsed * MAX_USUAL_SHARE)
    if is_over:
        return max(elapsed, usual)
    wanted = max(elapsed + left_ms, usual_ms)
    step = step_ms(wanted)
    return math.ceil(wanted / step) * step


def step_ms(width_ms: int) -> int:
    """The distance of the labels."""
    return next((step for step in STEPS_MS if width_ms <= step * MAX_STEPS), STEPS_MS[-1])


def counts_of(stored: JobSamples | None, stage: str) -> Counts:
    if stored is None or stage not in stored.stages:
        return []
    index = stored.stages.index(stage)
    return [(each[0], each[2][index], each[3][index]) for each in stored.samples]


def done_path(stage: Stage, span: Span | None, counts: Counts) -> str:
    """What was done by when, within the bar of the stage; its top is all of its items."""
    if span is None:
        return ""
    whole = max(stage.total, stage.processed)
    if not whole:
        return FULL_PATH if stage.stage_status is StageStatus.COMPLETED else ""
    first = next((done for ms, done, _ in reversed(counts) if ms <= span.start_ms), 0)
    points = [(0.0, float(first))]
    for ms, done, _ in counts:
        x = 100 * (ms - span.start_ms) / max(1, span.length_ms)
        if points[-1][0] + LEAST_DISTANCE <= x <= 100 - LEAST_DISTANCE:
            points.append((x, done))
    return charts.area_path([*points, (100.0, stage.processed)], whole)


def stage_rate(stage: Stage, span: Span | None, counts: Counts, attempt: int) -> str:
    """The mean speed in this attempt; empty if it is unknown what earlier ones did."""
    if span is None or (attempt > 1 and not counts):
        return ""
    since_ms, done = (counts[0][0], counts[0][1]) if attempt > 1 else (0, 0)
    return formatting.rate(stage.processed - done, span.end_ms - max(since_ms, span.start_ms))


def _ends(stage: Stage, span: Span) -> tuple[str, str]:
    return str(span.start_ms), str(span.end_ms) if stage.finished_at else ""


def share(span: Span | None, width_ms: int) -> tuple[str, str]:
    """Start and length in percent of the axis."""
    if span is None or not width_ms:
        return "0", "0"
    start, end = (100 * each / width_ms for each in (span.start_ms, span.end_ms))
    return f"{start:.2f}", f"{max(0.0, min(end, MAX_PERCENT) - start):.2f}"


def axis_view(width_ms: int) -> Context:
    """The labels of an axis: where, text and anchor."""
    if not width_ms:
        return {"width_ms": "", "labels": []}
    step = step_ms(width_ms)
    at = range(0, width_ms + 1, step)
    return {
        "width_ms": width_ms,
        "labels": [
            (f"{100 * ms / width_ms:.2f}", formatting.axis_label(ms, step), _anchor(ms / width_ms))
            for ms in at
        ],
    }


def ticks_path(width_ms: int) -> str:
    """Lines at the labels, but none at the start."""
    step = step_ms(width_ms)
    return "".join(
        f"M{charts.number(100 * ms / width_ms)} 0V1" for ms in range(step, width_ms + 1, step)
    )


def _anchor(share: float) -> str:
    if share == 0:
        return "start"
    return "end" if share > LAST_LABEL else "middle"
