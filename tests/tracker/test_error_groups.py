"""Errors that differ in their items and numbers only are one row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ingestion_progress import track
from ingestion_progress.models import Job, JobAttempt, JobError
from ingestion_progress.models.errors import MAX_EXAMPLES
from ingestion_progress.models.events import MAX_MESSAGE_LENGTH
from ingestion_progress.models.statuses import AttemptStatus
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker import attach, fail_job, queue_job
from ingestion_progress.tracker.changes import JobChanges
from ingestion_progress.tracker.endings import follow_up
from ingestion_progress.tracker.error_groups import (
    MAX_GROUPS,
    OTHER,
    ErrorGroups,
    error_group,
    reopen_error,
    resolve_error,
    write_errors,
)

NINE = datetime(2026, 1, 1, 9, tzinfo=UTC)

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def written_at_once():
    with synchronous_tracking():
        yield


def later(minutes: int) -> datetime:
    return NINE + timedelta(minutes=minutes)


def groups() -> list[tuple[str, str, str, int]]:
    rows = JobError.objects.order_by("id")
    return list(rows.values_list("stage", "kind", "message", "count"))


class TestInMemory:
    def test_errors_that_differ_in_variable_parts_only_are_one_group(self):
        errors = ErrorGroups()
        for n in (2, 1, 3):
            errors.add(error_group(f"Page {n} is empty", at=later(n), item=f"page {n}"))
        (group,) = errors.values()
        assert (group.message, group.count) == ("Page <n> is empty", 3)
        assert (group.first_at, group.last_at) == (later(1), later(3))
        assert [each["item"] for each in group.examples] == ["page 2", "page 1", "page 3"]

    @pytest.mark.parametrize("other", [{"stage": "two"}, {"kind": "timeout"}])
    def test_stage_and_kind_separate_groups(self, other):
        errors = ErrorGroups()
        for fields in ({}, other):
            errors.add(error_group("same", at=NINE, **fields))
        assert len(errors) == 2

    def test_examples_are_few_whole_and_without_secrets(self):
        errors = ErrorGroups()
        for n in range(MAX_EXAMPLES + 2):
            text = f"page {n}: password=p{n} in /srv/data/a.pdf"
            errors.add(error_group(text, at=NINE, item=f"/srv/data/{n}.pdf?token=t{n}"))
        (group,) = errors.values()
        assert len(group.examples) == MAX_EXAMPLES
        assert group.examples[1] == {
            "item": "1.pdf?token=***",
            "message": "page 1: password=*** in a.pdf",
        }

    def test_groups_are_limited_and_the_rest_is_counted(self):
        errors, words = ErrorGroups(), [f"{a}{b}" for a in "abcdefghijk" for b in "abcdefghijk"]
        for word in words:
            errors.add(error_group(word, at=NINE, stage="one", kind="odd"))
        assert len(errors) == MAX_GROUPS + 1
        assert sum(group.count for group in errors.values()) == len(words)
        other = errors["other"]
        assert (other.message, other.stage, other.kind) == (OTHER, "", "")

    def test_an_error_that_is_counted_among_all_others_stays_as_it_is(self):
        errors = ErrorGroups()
        for number in range(MAX_GROUPS):
            errors[str(number)] = error_group("odd", at=NINE)
        one_more = error_group("even", at=NINE, stage="one")
        assert errors.add(one_more).message == OTHER
        assert (one_more.message, one_more.stage, one_more.count) == ("even", "one", 1)

    def test_a_group_keeps_of_each_text_what_its_column_holds(self):
        long = "xy " * 1000
        group = error_group(long, at=NINE, stage=long, kind=long, item=long)
        for name in ("stage", "kind", "message"):
            size = JobError._meta.get_field(name).max_length
            assert len(getattr(group, name)) == size
        (example,) = group.examples
        assert (len(example["item"]), len(example["message"])) == (255, MAX_MESSAGE_LENGTH)

    def test_changes_that_are_put_back_keep_each_error_once(self):
        first, second = JobChanges(), JobChanges()
        for changes in (first, second):
            changes.errors.add(error_group("same", at=NINE))
        first.follow(second)
        assert [group.count for group in first.errors.values()] == [2]
        assert [group.count for group in second.errors.values()] == [1]


@pytest.mark.usefixtures("written_at_once")
class TestRows:
    def test_recorded_errors_of_all_processes_are_summed(self):
        with track("a.pdf", job_id="job", stages=["one"]) as job:
            job.stage("one").record_error("Page 1 is empty", item="page 1")
            with attach("job") as other:
                other.stage("one").record_error("Page 2 is empty", item="page 2", kind="empty")
                other.stage("one").record_error("Page 3 is empty", item="page 3")
        assert groups() == [
            ("one", "", "Page <n> is empty", 2),
            ("one", "empty", "Page <n> is empty", 1),
        ]
        assert JobError.objects.first().examples == [
            {"item": "page 1", "message": "Page 1 is empty", "attempt": 1},
            {"item": "page 3", "message": "Page 3 is empty", "attempt": 1},
        ]
        row = Job.objects.get()
        assert row.failed_items == row.error_count == 3
        assert JobAttempt.objects.get().failed_items == 3

    def test_exception_is_recorded_with_its_reason_and_class(self):
        with track("a.pdf", stages=["one"]) as job:
            job.stage("one").record_error(TimeoutError("no answer in 3 s"), item="c-1")
            job.stage("one").record_error(KeyError("x"), kind="answer")
        assert groups() == [
            ("one", "timeout error", "no answer in <n> s", 1),
            ("one", "answer", "An unexpected error; the log has the details.", 1),
        ]

    def test_failure_of_the_job_is_a_group_without_a_stage(self):
        with pytest.raises(ValueError, match="odd"), track("a.pdf", stages=["one"]):
            raise ValueError("odd")
        assert groups() == [("", "value error", "odd", 1)]

    def test_stored_group_has_the_times_of_its_first_and_its_last_error(self):
        job = queue_job("a.pdf")
        for minutes in (5, 0, 9, 7):
            write_errors(job, [error_group("odd", at=later(minutes), stage="one")])
        row = JobError.objects.get()
        assert (row.first_at, row.last_at, row.count) == (later(0), later(9), 4)

    def test_each_way_to_fail_is_one(self):
        with track("a.pdf", stages=["one"]) as job:
            job.fail("by its task")
        with track("d.pdf", stages=["one"]) as job:
            async_to_sync(job.afail)("by its coroutine")
        queue_job("b.pdf", job_id="b")
        fail_job("b", "by its queue")
        track("c.pdf", job_id="c", stages=["one"]).start()
        follow_up(Job.objects.get(pk="c"), AttemptStatus.LOST, "Killed.", can_run_again=False)
        assert [group[1:3] for group in groups()] == [
            ("", "by its task"),
            ("", "by its coroutine"),
            ("", "by its queue"),
            ("lost", "Killed."),
        ]

    def test_attempt_that_is_tried_again_leaves_its_error(self):
        for attempt in (1, 2):
            with (
                pytest.raises(TimeoutError),
                track("a.pdf", job_id="job", stages=["one"], retry_on=(TimeoutError,)) as job,
            ):
                job.stage("one").record_error("odd", item=f"c-{attempt}")
                raise TimeoutError("slow")
        assert groups() == [("one", "", "odd", 2), ("", "timeout error", "slow", 2)]
        odd = JobError.objects.first()
        assert [each["attempt"] for each in odd.examples] == [1, 2]
        assert odd.attempt == 2
        assert list(JobAttempt.objects.values_list("failed_items", flat=True)) == [1, 1]
        assert Job.objects.get().failed_items == 0

    def test_error_that_occurs_again_is_not_resolved(self):
        with track("a.pdf", stages=["one"]) as job:
            job.stage("one").record_error("odd")
            JobError.objects.update(resolved_at=NINE, resolved_by="ann")
            job.stage("one").record_error("odd")
        row = JobError.objects.get()
        assert (row.resolved_at, row.resolved_by, row.count) == (None, "", 2)

    def test_resolving_and_reopening_change_one_group_of_one_job(self):
        for job_id in ("job", "other"):
            track("a.pdf", job_id=job_id, stages=["one"]).stage("one").record_error("odd")
            JobError.objects.filter(job=job_id).update(message="same")
        mine, others = (JobError.objects.get(job=job_id) for job_id in ("job", "other"))
        track("a.pdf", job_id="done", stages=["one"]).stage("one").record_error("even")
        JobError.objects.filter(job="done").update(job="job", resolved_at=NINE, resolved_by="eve")
        assert not resolve_error("job", others.pk, by="ann")
        assert resolve_error("job", mine.pk, by="ann")
        assert not resolve_error("job", mine.pk, by="ben")
        resolved = JobError.objects.exclude(resolved_at=None)
        who = resolved.order_by("resolved_by").values_list("job", "resolved_by")
        assert list(who) == [("job", "ann"), ("job", "eve")]
        assert not reopen_error("other", mine.pk)
        assert len(who.all()) == 2
        assert reopen_error("job", mine.pk)
        assert list(who.all()) == [("job", "eve")]
        mine.refresh_from_db()
        assert (mine.resolved_at, mine.resolved_by) == (None, "")

    def test_number_of_statements_does_not_depend_on_the_errors(self):
        def statements(n: int) -> int:
            errors = ErrorGroups()
            for letter in "abcdefghijklmno"[:n]:
                errors.add(error_group(letter, at=NINE, stage="one"))
            with CaptureQueriesContext(connection) as queries:
                write_errors(job, errors.values())
            return len(queries)

        job = queue_job("a.pdf")
        assert statements(1) == statements(15) == 2
        assert JobError.objects.count() == 15

    def test_groups_of_a_job_are_limited_over_all_flushes(self):
        job = queue_job("a.pdf")
        for start in "abc":
            errors = ErrorGroups()
            for word in (f"{start}{a}{b}" for a in "abcdefgh" for b in "abcdef"):
                errors.add(error_group(word, at=NINE, stage="one"))
            write_errors(job, errors.values())
            write_errors(job, errors.values())  # the same objects, as after a failed write
        assert JobError.objects.count() == MAX_GROUPS + 1
        assert JobError.objects.get(message=OTHER).count == 2 * (3 * 48 - MAX_GROUPS)
        assert sum(JobError.objects.values_list("count", flat=True)) == 2 * 3 * 48
