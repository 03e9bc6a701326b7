"""What a page draws of the samples of a job: charts over time, and the same in tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.utils.translation import gettext, gettext_lazy

from ingestion_progress.models import Job, JobSamples
from ingestion_progress.models.spans import elapsed_ms, stage_span
from ingestion_progress.web import charts, formatting, stage_texts
from ingestion_progress.web.usual_runs import UsualRun
from ingestion_progress.wire.snapshots import Snapshot

Context = dict[str, Any]
# A table has at most this many rows, evenly spread over the samples.
MAX_ROWS = 20
UNKNOWN = gettext_lazy("unknown")


def samples_view(snapshot: Snapshot, stored: JobSamples | None, now: datetime) -> Context:
    """The charts and the rows of the table; empty before the first sample."""
    if stored is None or not stored.samples:
        return {"charts": [], "rows": [], "moments": 0}
    samples = [Sample(each) for each in stored.samples]
    whole_ms = elapsed_ms(snapshot.job, now)
    return {
        "charts": [
            _progress_chart(snapshot, samples, whole_ms),
            _throughput_chart(snapshot, samples, whole_ms),
            *_worker_charts(snapshot.job, samples, whole_ms),
        ],
        "end": formatting.duration(whole_ms),
        "rows": _rows(samples),
        "moments": len(samples),
    }


class Sample:
    """One stored sample, with names."""

    def __init__(self, stored: Sequence[Any]) -> None:
        self.elapsed_ms, self.percent, processed, _, *later = stored
        _, self.busy, self.waiting = [*later, None, None, None][:3]
        self.processed = sum(processed)


def stage_rows(
    snapshot: Snapshot, shown: Sequence[Context], usual: UsualRun, now: datetime
) -> list[Context]:
    """The timeline as a table. `shown`: the stages of `job_view`, with their timeline."""
    rows = []
    for stage, view in zip(snapshot.stages, shown, strict=True):
        span, usually = stage_span(snapshot.job, stage, now), usual.spans.get(stage.name)
        rows.append(
            view
            | {
                "started_after": formatting.duration(span.start_ms) if span else "",
                "took": formatting.duration(span.length_ms) if span else "",
                "usually": formatting.duration(usually.length_ms) if usually else "",
                "items": stage_texts.stage_detail(
                    view["status"], stage.processed, stage.total, stage.unit
                ),
                "failed": formatting.count(stage.failed),
            }
        )
    return rows


def _progress_chart(snapshot: Snapshot, samples: Sequence[Sample], whole_ms: int) -> Context:
    points = [*_points(samples, "percent", whole_ms), (100.0, snapshot.overall_percent)]
    text = formatting.exact_percent(snapshot.overall_percent)
    return _chart("progress", gettext("Progress"), charts.area_path(points, 100), text)


def _throughput_chart(snapshot: Snapshot, samples: Sequence[Sample], whole_ms: int) -> Context:
    done = sum(stage.processed for stage in snapshot.stages)
    counts = [(each.elapsed_ms, each.processed) for each in samples]
    start = [(0, 0)] if snapshot.job.attempt == 1 else []
    rates = charts.throughput([*start, *counts, (whole_ms, done)], whole_ms)
    highest = max(rates, default=0.0)
    path = charts.steps_path(charts.spread(rates), highest)
    return _chart(
        "throughput", gettext("Throughput"), path, formatting.peak(formatting.rate(highest, 1000))
    )


def _worker_charts(job: Job, samples: Sequence[Sample], whole_ms: int) -> list[Context]:
    """None for a job without workers and without a queue."""
    highest = max((each.waiting or 0 for each in samples), default=0)
    if not job.pool_size and not highest:
        return []
    shown = []
    busy = max((each.busy or 0 for each in samples), default=0)
    for name, label, ceiling, peak in (
        ("busy", gettext("Busy workers"), max(job.pool_size, busy), busy),
        ("waiting", gettext("Waiting items"), highest, highest),
    ):
        known = [each for each in samples if getattr(each, name) is not None]
        path = charts.steps_path(_points(known, name, whole_ms), ceiling)
        text = formatting.peak(formatting.count(peak)) if known else str(UNKNOWN)
        shown.append(_chart(name, label, path, text))
    return shown


def _points(samples: Sequence[Sample], name: str, whole_ms: int) -> list[charts.Point]:
    return [
        (100 * each.elapsed_ms / whole_ms, getattr(each, name))
        for each in samples
        if 0 <= each.elapsed_ms < whole_ms
    ]


def _chart(name: str, label: str, path: str, text: str) -> Context:
    return {"name": name, "label": label, "path": path, "text": text}


def _rows(samples: Sequence[Sample]) -> list[Context]:
    """Evenly spaced ones, the last one included; each with the speed since the row before."""
    step = max(1, -(-len(samples) // MAX_ROWS))
    chosen = list(reversed(samples[::-1][::step]))
    rows = []
    for before, each in zip([None, *chosen], chosen, strict=False):
        items = each.processed - before.processed if before else 0
        passed_ms = each.elapsed_ms - before.elapsed_ms if before else 0
        rows.append(
            {
                "after": formatting.duration(each.elapsed_ms),
                "percent": formatting.exact_percent(each.percent),
                "items": formatting.count(each.processed),
                "rate": formatting.rate(items, passed_ms) if before else "",
                "busy": str(UNKNOWN) if each.busy is None else formatting.count(each.busy),
                "waiting": str(UNKNOWN) if each.waiting is None else formatting.count(each.waiting),
            }
        )
    return rows
