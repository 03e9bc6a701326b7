"""The timeline of a job's page: bars at the stored times, the usual run, and what is unknown."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ingestion_progress.models import Job, JobSamples, Stage, Worker
from ingestion_progress.models.statuses import JobStatus, WorkerStatus
from tests.support.page_jobs import page_of, text_of
from tests.support.timed_jobs import timed_job

pytestmark = pytest.mark.django_db

NOW = timezone.now()
STAGES = {"parsing": (0, 20), "embedding": (10, 70), "extraction": (50, 100)}
SAMPLES = [
    [0, 0.0, [0, 0, 0], [100, 0, 0], None, 0, 0],
    [20_000, 30.0, [100, 0, 0], [100, 100, 0], None, 2, 9],
    [60_000, 60.0, [100, 80, 20], [100, 100, 100], None, 3, 4],
]


def rows_of(html: str) -> dict[str, str]:
    """The markup of each stage by its name."""
    found = re.findall(r'<li class="stage"[^>]*? data-stage="([^"]*)"(.*?)</li>', html, re.DOTALL)
    return dict(found)


def bar(row: str, kind: str) -> tuple[float, float]:
    """Start and length in percent of the axis."""
    (found,) = re.findall(rf'class="{kind}" x="([\d.]+)%" width="([\d.]+)%"', row)
    return float(found[0]), float(found[1])


def facts(row: str) -> list[str]:
    return re.findall(r'data-field="stage\.\w+">([^<]*)<', row)


def test_bars_are_at_the_stored_times(client):
    timed_job("job", STAGES, started_at=NOW - timedelta(hours=1), seconds=100, samples=SAMPLES)
    rows = rows_of(text_of(client, page_of("job")))
    assert [bar(row, "time-bar") for row in rows.values()] == [(0, 20), (10, 60), (50, 50)]
    assert [re.findall(r'data-(?:start|end)="(\d*)"', row) for row in rows.values()] == [
        ["0", "20000"],
        ["10000", "70000"],
        ["50000", "100000"],
    ]
    assert "5\u00a0per\u00a0s" not in rows["parsing"]
    assert "5 per\u00a0s" in facts(rows["parsing"])
    # Half of its bar is at 0 of 100, the next point at 80, and its end at 100.
    assert '<path d="M0 100L0 100L16.7 100L83.3 20L100 0L100 100Z"/>' in rows["embedding"]


def test_bar_of_a_running_stage_ends_now_and_a_pending_one_has_none(client):
    stages = {"parsing": (0, 30), "embedding": (30, None), "extraction": (None, None)}
    timed_job("job", stages, started_at=timezone.now() - timedelta(seconds=60))
    html = text_of(client, page_of("job"))
    rows = rows_of(html)
    assert '<svg class="time-axis" data-axis="90000"' in html
    start, length = bar(rows["embedding"], "time-bar")
    assert start == 33.33
    assert 33 <= length < 67  # of 90 s, at least 30 s
    assert bar(rows["extraction"], "time-bar") == (0, 0)
    assert 'data-start="" data-end=""' in rows["extraction"]
    assert '<path d=""/>' in rows["extraction"]


def test_stage_that_an_earlier_attempt_completed_has_no_bar(client):
    stages = {"parsing": (-50, -20), "embedding": (0, 10)}
    timed_job("job", stages, started_at=NOW - timedelta(hours=1), seconds=10, attempt=2)
    rows = rows_of(text_of(client, page_of("job")))
    assert bar(rows["parsing"], "time-bar") == (0, 0)
    assert bar(rows["embedding"], "time-bar") == (0, 100)


def test_speed_of_a_later_attempt_counts_only_its_own_items(client):
    samples = [[0, 0.0, [60], [100], None, 0, 0], [10_000, 99.9, [100], [100], None, 0, 0]]
    timed_job("job", {"one": (0, 10)}, started_at=NOW, seconds=10, samples=samples, attempt=2)
    assert "4 per\u00a0s" in facts(rows_of(text_of(client, page_of("job")))["one"])
    JobSamples.objects.update(samples=[])
    assert "per\u00a0" not in rows_of(text_of(client, page_of("job")))["one"]


def test_usual_run_is_the_median_of_earlier_jobs_with_the_same_stages(client):
    hour_ago = NOW - timedelta(hours=1)
    for n, factor in enumerate((1, 2, 6)):
        stages = {name: (start * factor, end * factor) for name, (start, end) in STAGES.items()}
        timed_job(f"former {n}", stages, started_at=hour_ago, seconds=100 * factor)
    others = {"one": (0, 9), "two": (1, 9), "three": (1, 9)}
    timed_job("other stages", others, started_at=hour_ago, seconds=9)
    timed_job("failed", STAGES, started_at=hour_ago, seconds=1, status=JobStatus.FAILED)
    timed_job("later", STAGES, started_at=NOW + timedelta(hours=1), seconds=1)
    timed_job("job", STAGES, started_at=NOW, seconds=100)
    html = text_of(client, page_of("job"))
    assert "Usually: median of 3 such jobs" in html
    assert ">then usual 3\u00a0min\u00a020\u00a0s</span>" in html
    assert 'data-axis="200000"' in html
    rows = rows_of(html)
    assert [bar(row, "time-usual") for row in rows.values()] == [(0, 20), (10, 60), (50, 50)]
    assert 'data-usual="20000 140000"' in rows["embedding"]


def test_usual_run_that_is_far_longer_leaves_the_axis(client):
    hour_ago = NOW - timedelta(hours=1)
    timed_job("former", {"one": (0, 1000)}, started_at=hour_ago, seconds=1000)
    timed_job("job", {"one": (0, 10)}, started_at=NOW, seconds=10)
    html = text_of(client, page_of("job"))
    assert "Usually: of the last such job" in html
    assert 'data-axis="20000"' in html
    assert bar(rows_of(html)["one"], "time-usual") == (0, 101)


def test_job_without_history_says_nothing_of_a_usual_run(client, settings):
    timed_job("former", STAGES, started_at=NOW - timedelta(hours=1), seconds=100)
    settings.INGESTION_PROGRESS_FORMER_JOBS = 0
    timed_job("job", STAGES, started_at=NOW, seconds=100)
    html = text_of(client, page_of("job"))
    assert "Usually:" not in html
    assert "timing-note" not in html
    assert bar(rows_of(html)["parsing"], "time-usual") == (0, 0)


def test_waiting_job_shows_the_usual_run_on_its_axis(client):
    timed_job("former", STAGES, started_at=NOW - timedelta(hours=1), seconds=100)
    job = timed_job("job", STAGES, started_at=NOW)
    JobSamples.objects.filter(job=job).delete()
    Job.objects.filter(pk="job").update(status=JobStatus.QUEUED, started_at=None)
    job.stages.update(started_at=None, finished_at=None, status="pending", processed=0)
    html = text_of(client, page_of("job"))
    assert 'data-axis="120000"' in html
    assert bar(rows_of(html)["parsing"], "time-usual") == (0, 16.67)
    assert re.search(r'id="over-time"[^>]* hidden>', html)


def test_expected_end_is_that_of_the_forecast(client):
    later = timezone.now() + timedelta(minutes=50)
    ends = {f"{name}_end_at": later for name in ("earliest", "likely", "latest")}
    started_at = timezone.now() - timedelta(seconds=9)
    timed_job("job", {"one": (0, None)}, started_at=started_at, heartbeat_at=later, **ends)
    html = text_of(client, page_of("job"))
    assert "Expected end" in html
    (shown,) = re.findall(r'data-field="job.end" data-moment datetime="([^"]*)"', html)
    assert abs((timezone.datetime.fromisoformat(shown) - later).total_seconds()) < 5


def test_charts_and_tables_show_the_samples(client):
    started_at = NOW - timedelta(hours=1)
    timed_job("job", STAGES, started_at=started_at, seconds=100, samples=SAMPLES, pool_size=4)
    html = text_of(client, page_of("job"))
    chart = re.compile(r'data-chart="(\w+)".*?class="chart-area" d="([^"]*)"', re.DOTALL)
    assert dict(chart.findall(html)) == {
        "progress": "M0 100L0 100L20 70L60 40L100 0L100 100Z",
        "throughput": "M0 100H0V0H25V44.4H50V44.4H75V44.4H100V100Z",
        "busy": "M0 100H0V100H20V50H60V25H100V100Z",
        "waiting": "M0 100H0V100H20V0H60V55.6H100V100Z",
    }
    for text in ("at most 3<", "at most 9<", 'data-moments="3"'):
        assert text in html
    cells = re.findall(r'<tr><th scope="row">(.*?)</td></tr>', html)
    assert [re.sub("(<[^>]*>)+", "|", row) for row in cells] == [
        "0\u00a0s|0%|0|–|0|0",
        "20\u00a0s|30.0%|100|5 per\u00a0s|2|9",
        "1\u00a0min\u00a000\u00a0s|60.0%|200|2.5 per\u00a0s|3|4",
    ]
    (stage,) = re.findall(r'<tr data-key="embedding">(.*?)</td></tr>', html)
    assert "|".join(filter(None, re.split("<.*?>", stage))) == (
        "Embedding|Completed|10\u00a0s|1\u00a0min\u00a000\u00a0s|–|100 pages|0|1.7 per\u00a0s"
    )


def test_what_older_versions_did_not_store_is_said_to_be_unknown(client):
    samples = [each[:5] for each in SAMPLES]
    timed_job("job", STAGES, started_at=NOW, seconds=100, samples=samples, pool_size=4)
    html = text_of(client, page_of("job"))
    assert html.count("<td>unknown</td><td>unknown</td>") == 3
    assert html.count('<span class="chart-note">unknown</span>') == 2


def test_job_without_workers_and_queue_has_no_charts_of_them(client):
    samples = [[0, 0.0, [0], [9], None, 0, 0], [9_000, 99.9, [9], [9], None, 0, 0]]
    timed_job("job", {"one": (0, 9)}, started_at=NOW, seconds=9, samples=samples)
    assert re.findall(r'data-chart="(\w+)"', text_of(client, page_of("job"))) == [
        "progress",
        "throughput",
    ]


def test_many_stages_can_be_folded_but_not_those_with_failed_items(client):
    stages = {f"s{n}": (n, n + 1) if n < 5 else (None, None) for n in range(13)}
    job = timed_job("job", stages, started_at=NOW)
    job.stages.filter(name="s1").update(failed=2)
    html = text_of(client, page_of("job"))
    assert 'data-many="true"' in html
    assert ">Show 4 done<" in html
    assert ">Show 8 not started<" in html
    job.stages.filter(name="s12").delete()
    assert 'data-many=""' in text_of(client, page_of("job"))


def test_page_makes_as_many_queries_with_many_stages_workers_and_former_jobs(client):
    def queries(job_id: str) -> int:
        with CaptureQueriesContext(connection) as found:
            text_of(client, page_of(job_id))
        return len(found)

    few = {"one": (0, 9)}
    timed_job("former few", few, started_at=NOW - timedelta(hours=1), seconds=9)
    timed_job("few", few, started_at=NOW, seconds=9)
    many = {f"stage {n}": (n, n + 2) for n in range(40)}
    for n in range(25):
        timed_job(f"former {n}", many, started_at=NOW - timedelta(hours=1), seconds=42)
    job = timed_job("many", many, started_at=NOW, pool_size=200)
    Worker.objects.bulk_create(
        Worker(job=job, number=n, status=WorkerStatus.IDLE) for n in range(1, 201)
    )
    assert Stage.objects.filter(job="many").count() == 40
    assert queries("many") == queries("few")
