"""Generated jobs that are hard to forecast, and their replay through the tracker's forecast.

Five stages whose cost per item differs up to 100:1 · documents of log-normal length (deviation
0.9) · each stage of each job off its usual cost by a log-normal factor (deviation 0.35) · in 30 %
of the jobs a change of speed by 3 times in either direction · in 20 % a pause of 30 % of the job ·
in half of the pipelines the last three stages overlap · in half the totals of later stages are
known only after the first.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ingestion_progress.models import Job, Stage
from ingestion_progress.models.stages import plan_percent
from ingestion_progress.models.statuses import JobStatus, StageStatus
from ingestion_progress.tracker.forecasts import StageClocks, forecast_at, set_ends, update_forecast
from ingestion_progress.tracker.former_jobs import SCORED_PERCENTS, stage_times
from ingestion_progress.wire.forecast import History, StageTime, learn, linear
from ingestion_progress.wire.forecast.scores import Score
from ingestion_progress.wire.schemas import DEFAULT_WEIGHTS

START = datetime(2026, 1, 1, tzinfo=UTC)
STAGES = tuple(DEFAULT_WEIGHTS)
STEPS = 300
MAX_STEPS = 14 * STEPS


@dataclass(frozen=True)
class Pipeline:
    """What the jobs of one pipeline have in common."""

    costs: tuple[float, ...]
    """Seconds per item, by stage."""
    ratios: tuple[float, ...]
    """Items per page, by stage."""
    overlaps: bool
    finds_totals_late: bool

    @classmethod
    def drawn(cls, chance: random.Random) -> Pipeline:
        chunks = chance.uniform(2, 5)
        ratios = (1.0, chance.choice([0.0, 0.1, 0.5]), chunks, chunks, chunks)
        return cls(
            costs=tuple(10 ** chance.uniform(-2, 0) for _ in STAGES),
            ratios=ratios,
            overlaps=chance.random() < 0.5,
            finds_totals_late=chance.random() < 0.5,
        )


@dataclass(frozen=True)
class Moment:
    """The counts of a job at one time, in seconds since its start."""

    at: float
    processed: tuple[int, ...]
    totals: tuple[int, ...]
    started_at: tuple[float | None, ...]
    ended_at: tuple[float | None, ...]


class Trace:
    """One job of a pipeline, as it went."""

    def __init__(self, pipeline: Pipeline, chance: random.Random) -> None:
        pages = max(3, round(chance.lognormvariate(math.log(40), 0.9)))
        self.items = [round(pages * ratio) for ratio in pipeline.ratios]
        self.costs = [cost * chance.lognormvariate(0, 0.35) for cost in pipeline.costs]
        self._pipeline = pipeline
        work = [n * cost for n, cost in zip(self.items, self.costs, strict=True)]
        rest = max(work[2:]) if pipeline.overlaps else sum(work[2:])
        self._ideal = sum(work[:2]) + rest
        never = math.inf
        self._changes_at = self._ideal * (
            chance.uniform(0.2, 0.8) if chance.random() < 0.3 else never
        )
        self._later_speed = chance.choice([1 / 3, 3.0])
        self._pauses_at = self._ideal * (
            chance.uniform(0.2, 0.8) if chance.random() < 0.2 else never
        )
        self.moments = list(self._run())
        self.seconds = self.moments[-1].at

    def _run(self) -> Iterator[Moment]:
        step = self._ideal / STEPS
        done = [0.0] * len(STAGES)
        starts: list[float | None] = [None] * len(STAGES)
        ends: list[float | None] = [None] * len(STAGES)
        for number in range(1, MAX_STEPS):
            at = number * step
            self._advance(at, step, done, starts, ends)
            is_known = not self._pipeline.finds_totals_late or ends[0] is not None
            totals = [n if index < 2 or is_known else 0 for index, n in enumerate(self.items)]
            counted = tuple(int(each + 1e-9) for each in done)
            yield Moment(at, counted, tuple(totals), tuple(starts), tuple(ends))
            if None not in ends:
                return

    def _advance(
        self,
        at: float,
        step: float,
        done: list[float],
        starts: list[float | None],
        ends: list[float | None],
    ) -> None:
        has_ended = [True, *(end is not None for end in ends)]  # by stage: the one before it
        speed = self._later_speed if at > self._changes_at else 1.0
        if self._pauses_at < at <= self._pauses_at + 0.3 * self._ideal:
            speed = 0.0
        for index, items in enumerate(self.items):
            flows = self._pipeline.overlaps and index >= 3 and done[index - 1] >= 1
            if ends[index] is not None or not (has_ended[index] or flows):
                continue
            if starts[index] is None:
                starts[index] = at - step
            most = items if has_ended[index] else min(items, math.floor(done[index - 1]))
            done[index] = min(most, done[index] + step * speed / self.costs[index])
            if has_ended[index] and done[index] >= items - 1e-9:
                done[index], ends[index] = float(items), at


@dataclass
class Replay:
    """Writes a trace as the tracker would: whenever its counts have changed."""

    trace: Trace
    history: History = field(default_factory=History)
    times: list[StageTime] = field(init=False)
    """What the stages did: history for other jobs."""
    scores: list[Score] = field(init=False)
    bar_distance: float = 0.0
    """The largest distance of the bar from the straight line, in points."""
    weighted_bar_distance: float = 0.0
    """The same of the bar by the declared weights."""

    def __post_init__(self) -> None:
        self._job = Job(
            id="job", status=JobStatus.RUNNING, started_at=START, updated_at=START,
            former_jobs=self.history.former_jobs,
        )  # fmt: skip
        self._stages = [
            Stage(name=name, position=position, weight=weight)
            for position, (name, weight) in enumerate(DEFAULT_WEIGHTS.items())
        ]
        self.scores = []
        set_ends(self._job, forecast_at(self._job, self._stages, self.history), START)
        due = list(SCORED_PERCENTS)
        counts = []
        last: Moment | None = None
        for moment in self.trace.moments:
            while due and moment.at >= self.trace.seconds * due[0] / 100:
                self.scores.append(self._score(due.pop(0)))
            if last is None or (moment.processed, moment.totals, moment.ended_at) != (
                last.processed, last.totals, last.ended_at,
            ):  # fmt: skip
                self._write(moment)
                counts.append([round(moment.at * 1000), 0.0, moment.processed, moment.totals, None])
                last = moment
            self._compare_bars(moment)
        first = [0, 0.0, [0] * len(STAGES), [0] * len(STAGES), None]
        self.times = stage_times([first, *counts], self._stages, self._job.updated_at)

    def _write(self, moment: Moment) -> None:
        now, before = START + timedelta(seconds=moment.at), self._job.updated_at
        clocks = StageClocks(self._job, self._stages, now)
        for index, stage in enumerate(self._stages):
            stage.processed, stage.total = moment.processed[index], moment.totals[index]
            started_at, ended_at = moment.started_at[index], moment.ended_at[index]
            if started_at is not None:
                stage.started_at = START + timedelta(seconds=started_at)
                stage.status = StageStatus.IN_PROGRESS
            if ended_at is not None:
                stage.finished_at = START + timedelta(seconds=ended_at)
                stage.status = StageStatus.COMPLETED
        list(clocks.update())
        self._job.updated_at = now
        if not self._job.former_jobs:
            percent = plan_percent(self._stages)
            self._job.reached_percent = max(self._job.reached_percent, percent)
        update_forecast(self._job, self._stages, self.history, before=before)

    def _score(self, percent: int) -> Score:
        at = self.trace.seconds * percent / 100
        now = START + timedelta(seconds=at)
        job = self._job
        ends = (job.likely_end_at, job.earliest_end_at, job.latest_end_at)
        left = [None if end is None else (end - now).total_seconds() for end in ends]
        by_weights = linear(at, plan_percent(self._stages))
        mean_speed = by_weights and by_weights.likely
        return Score.of([percent, self.trace.seconds - at, *left, mean_speed])

    def _compare_bars(self, moment: Moment) -> None:
        straight = 100 * moment.at / self.trace.seconds
        reached, weighted = self._job.reached_percent, plan_percent(self._stages)
        self.bar_distance = max(self.bar_distance, abs(reached - straight))
        self.weighted_bar_distance = max(self.weighted_bar_distance, abs(weighted - straight))


def replays(
    seeds: Sequence[int], *, pipelines: int = 60, former: int = 5, jobs: int = 4
) -> Iterator[Replay]:
    """The jobs of random pipelines, each with the history of `former` jobs before them."""
    for seed in seeds:
        chance = random.Random(seed)
        for _ in range(pipelines):
            pipeline = Pipeline.drawn(chance)
            earlier = [Replay(Trace(pipeline, chance)).times for _ in range(former)]
            history = learn(earlier)
            for _ in range(jobs):
                yield Replay(Trace(pipeline, chance), history)
