"""Random histories of a job: attempts, kills, retries, cancellations, late and failing writers."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from django.db import OperationalError
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ingestion_progress import attach, track
from ingestion_progress.exceptions import InvalidTransition, JobSuperseded
from ingestion_progress.models import Checkpoint, Job, RescueWatch, Stage
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.recovery import retry_job
from ingestion_progress.tracker import queue_job, request_cancellation
from ingestion_progress.tracker.endings import finish_attempt
from ingestion_progress.tracker.keys import KeySet
from ingestion_progress.tracker.sql import write_changes
from tests.support.rescuing import rescue_now
from tests.support.tracking import progress

pytestmark = [pytest.mark.django_db, pytest.mark.database]

KEYS = [0, 1, 3, "a"]
TOTAL = 6
keys = st.sampled_from(KEYS)
# By which process, of which key; has it failed, and is it written at once?
reports = st.tuples(st.integers(0, 3), keys, st.booleans(), st.booleans())


def refuse(*_):
    raise OperationalError("down")


def write_and_lose_the_answer(*args):
    write_changes(*args)
    raise OperationalError("the connection broke during COMMIT")


class Process:
    """A process that tracks the job, and what it has reported since its last write."""

    def __init__(self, job) -> None:
        job.start()
        self.job = job
        self.stage = job.stage("one")
        self.epoch = job.buffer.attempt.epoch
        self.reported: dict[int | str, bool] = {}
        self.pending: dict[int | str, bool] = {}
        self.pending_plain = 0

    def report(self, key, *, has_failed: bool) -> None:
        if has_failed:
            self.stage.record_error("broken", key=key)
        else:
            self.stage.advance(key=key)
        if key not in self.reported:
            self.reported[key] = self.pending[key] = has_failed


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        Job.objects.all().delete()
        RescueWatch.objects.all().delete()
        queue_job("a.pdf", job_id="job", stages=["one"], task="no.task", document_version="v0")
        self.version = "v0"
        self.processes: list[Process] = []
        self.done: set[int | str] = set()
        self.failed: set[int | str] = set()
        self.plain = 0
        self.endings: dict[int, str] = {}
        self.reached = (0, "", 0.0)

    @property
    def row(self) -> Job:
        return Job.objects.get(pk="job")

    def is_current(self, process: Process) -> bool:
        return self.row.status == "running" and process.epoch == self.row.epoch

    def owners(self) -> list[Process]:
        return [each for each in self.processes if self.is_current(each)]

    def apply(self, process: Process) -> None:
        """What a write of the process changes, if the attempt is its own."""
        if self.is_current(process):
            for key, has_failed in process.pending.items():
                if key not in self.done | self.failed:
                    (self.failed if has_failed else self.done).add(key)
            self.plain += process.pending_plain

    def next_attempt(self) -> None:
        self.failed, self.plain = set(), 0

    # Attempts

    @precondition(lambda self: self.row.status == "queued")
    @rule(is_changed=st.booleans())
    def start(self, is_changed):
        if is_changed:
            self.version += "+"
            self.done = set()
        self.processes.append(Process(track("a.pdf", job_id="job", document_version=self.version)))
        self.processes[-1].stage.set(total=TOTAL)
        self.processes += [Process(attach("job")) for _ in range(2)]
        self.processes = self.processes[-4:]

    @precondition(lambda self: self.row.status == "running")
    @rule(how=st.sampled_from(["killed", "succeeded", "failed", "cancelled", "handed back"]))
    def stop(self, how):
        if how == "killed" or not self.owners():
            self.kill()
        else:
            self.end(how)

    def kill(self):
        """Its processes may go on as late writers."""
        Job.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
        rescue_now()
        if self.row.status == "queued":
            self.next_attempt()

    def end(self, status):
        process = self.owners()[0]
        self.apply(process)
        if status == "handed back":
            process.job.hand_back("stopped")
        else:
            process.job._end(partial(finish_attempt, status=JobStatus(status)))
        process.pending, process.pending_plain = {}, 0
        if self.row.status == "queued":
            self.next_attempt()

    @rule()
    def cancel(self):
        if self.row.is_finished:
            with pytest.raises(InvalidTransition):
                request_cancellation("job")
        else:
            request_cancellation("job")

    @precondition(lambda self: self.row.is_finished)
    @rule(only=st.sampled_from(["all", "failed"]))
    def retry(self, only):
        has_succeeded = self.row.status == "succeeded"
        if only == "failed" and has_succeeded and not self.failed:
            with pytest.raises(InvalidTransition):
                retry_job("job", only=only)
            return
        retry_job("job", only=only)
        if has_succeeded and only == "all":
            self.done = set()
        self.next_attempt()

    # Reports and writes

    @precondition(lambda self: self.processes)
    @rule(reports=st.lists(reports, min_size=2, max_size=8))
    def report(self, reports):
        # Those of the running attempt first; the others are late.
        processes = sorted(self.processes, key=lambda each: not self.is_current(each))
        for number, key, has_failed, is_written in reports:
            process = processes[number % len(processes)]
            process.report(key, has_failed=has_failed)
            if is_written:
                self.flush(process, write_changes)

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), n=st.integers(1, 3))
    def advance(self, data, n):
        process = data.draw(st.sampled_from(self.processes))
        process.stage.advance(n)
        process.pending_plain += n

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), outcome=st.sampled_from([write_changes] * 2 + [refuse]))
    def write(self, data, outcome):
        self.flush(data.draw(st.sampled_from(self.processes)), outcome)

    @precondition(lambda self: any(not each.pending_plain for each in self.processes))
    @rule(data=st.data())
    def write_with_unknown_commit(self, data):
        """Counts without keys may be added twice, as documented."""
        only_keys = [each for each in self.processes if not each.pending_plain]
        process = data.draw(st.sampled_from(only_keys))
        self.flush(process, write_and_lose_the_answer)

    def flush(self, process: Process, outcome) -> None:
        try:
            process.job.buffer.write(outcome)
            is_written = True
        except JobSuperseded:
            is_written = True
        except OperationalError:
            is_written = False
        if is_written or outcome is write_and_lose_the_answer:
            self.apply(process)
        if is_written:
            process.pending, process.pending_plain = {}, 0

    @precondition(lambda self: self.owners())
    @rule(data=st.data(), key=keys)
    def ask(self, data, key):
        process = data.draw(st.sampled_from(self.owners()))
        is_done = process.stage.is_done(key)
        if process.reported.get(key) is False:
            assert is_done
        elif is_done:
            assert key in self.done

    # What holds at all times

    @invariant()
    def sums_are_exact(self):
        stage = Stage.objects.get(job="job")
        assert stage.processed == len(self.done) + len(self.failed) + self.plain
        assert stage.failed == self.row.failed_items == len(self.failed)

    @invariant()
    def done_keys_are_remembered(self):
        checkpoint = Checkpoint.objects.filter(job="job").first() or Checkpoint()
        written = KeySet(checkpoint.ranges, checkpoint.keys)
        assert {key for key in KEYS if key in written} == self.done
        assert len(written) == checkpoint.done_count == len(self.done)
        assert set(checkpoint.failed) == self.failed

    @invariant()
    def percent_never_falls_within_an_attempt(self):
        # It starts at 0 if the document has changed since it was queued.
        percent = progress("job").overall_progress_percent
        reached = (self.row.attempt, self.version, percent)
        assert reached >= self.reached
        self.reached = reached

    @invariant()
    def each_attempt_ends_once(self):
        job = self.row
        endings = {each.number: each.status for each in job.attempts.all()}
        last = job.attempt if job.is_finished else job.attempt - 1
        assert list(endings) == list(range(1, last + 1))
        assert endings.items() >= self.endings.items()
        self.endings = endings


def test_any_history_has_exact_sums_and_one_end_for_each_attempt(flush_only):
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
