"""Which jobs a stream of active jobs shows if the project has a rule for that (VISIBLE_JOBS).

Streams whose rules are the same query share one answer. A stream begins with the jobs that were
visible when it was admitted. Later jobs are asked about for many answers in one query. Until that
has succeeded, the streams leave them out.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from django.db.models import Q, Value

from ingestion_progress.feed.selection import OVERLAP
from ingestion_progress.feed.subscription import Subscription
from ingestion_progress.feed.visible_jobs import VisibleJobs
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.statuses import JobStatus

# SQLite allows 500 SELECTs in one UNION. 50 of 200 parameters stay below its limit of 32,766.
ANSWERS_PER_QUERY = 50
MAX_NAMED = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class VisibilityQuery:
    """Jobs that some answers do not know."""

    answers: Sequence[VisibleJobs]
    job_ids: Sequence[str]
    at: float

    def ask(self) -> list[set[str]]:
        """The visible ones of the jobs, by answer. One query for each 50 answers."""
        found: list[set[str]] = [set() for _ in self.answers]
        for first in range(0, len(self.answers), ANSWERS_PER_QUERY):
            arms = [
                answer.jobs.filter(self._condition)
                .order_by()
                .annotate(answer=Value(first + number))
                .values_list("answer", "pk")
                for number, answer in enumerate(self.answers[first : first + ANSWERS_PER_QUERY])
            ]
            for number, job_id in arms[0].union(*arms[1:], all=True).order_by():
                found[number].add(job_id)
        return [ids.intersection(self.job_ids) for ids in found]

    @property
    def _condition(self) -> Q:
        """Finds at least the jobs."""
        if len(self.job_ids) <= MAX_NAMED:
            return Q(pk__in=self.job_ids)
        lately = database_now() - 2 * OVERLAP
        return Q(status__in=sorted(JobStatus.active())) | Q(finished_at__gte=lately)


@dataclass(frozen=True, slots=True)
class Change:
    """Jobs that these streams show from now on, and those that they no longer show."""

    subscribers: Sequence[Subscription] = ()
    shown: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)


class Visibility:
    """The answers of all open streams with a rule, and the jobs that they do not know yet."""

    def __init__(self) -> None:
        self.unknown = asyncio.Event()
        """Set while some answers do not know the newest jobs."""
        self._answers: dict[str, VisibleJobs] = {}
        self._members: defaultdict[VisibleJobs, set[Subscription]] = defaultdict(set)
        self._subscribers: defaultdict[VisibleJobs, set[Subscription]] = defaultdict(set)
        """The members that have their first states."""
        self._by_job: defaultdict[str, set[VisibleJobs]] = defaultdict(set)
        self._found_at: dict[str, float] = {}
        """When the feed found each job that is active or ended lately."""
        self._newest = 0.0
        """When it found the newest of them."""

    def __bool__(self) -> bool:
        return bool(self._answers)

    def members(self) -> Iterator[Subscription]:
        return chain.from_iterable(self._members.values())

    def subscribers(self) -> Iterator[Subscription]:
        return chain.from_iterable(self._subscribers.values())

    def showing(self, job_id: str) -> Iterator[Subscription]:
        """The streams with their first states that may show this job."""
        for answer in self._by_job.get(job_id, ()):
            yield from self._subscribers.get(answer, ())

    def enter(self, subscription: Subscription, visible: VisibleJobs) -> None:
        """Adds a stream: its answer is joined with that of others with the same query."""
        answer = self._answers.setdefault(visible.key, visible)
        self._members[answer].add(subscription)
        subscription.selection.visible = answer
        self._add(answer, visible.ids)
        if answer is visible and self._newest > answer.asked_at:
            answer.is_behind = True
            self.unknown.set()

    def start(self, subscription: Subscription) -> None:
        """The stream has its first states."""
        if subscription.selection.visible is not None:
            self._subscribers[subscription.selection.visible].add(subscription)

    def leave(self, subscription: Subscription) -> None:
        answer = subscription.selection.visible
        if answer is None:
            return
        self._members[answer].discard(subscription)
        self._subscribers[answer].discard(subscription)
        if not self._members[answer]:
            del self._members[answer], self._subscribers[answer]
            if self._answers.get(answer.key) is answer:
                del self._answers[answer.key]
            self._forget(answer, answer.ids)

    def found(self, job_ids: Collection[str], *, are_all: bool = True) -> None:
        """Jobs that are active or ended lately: asks about new ones and, if these are all that
        streams may show, forgets others.
        """
        if not self._answers:
            self._found_at = {}
            return
        now = time.monotonic()
        new = set(job_ids) - self._found_at.keys()
        gone = self._found_at.keys() - job_ids if are_all else set()
        self._found_at.update(dict.fromkeys(new, now))
        for job_id in gone:
            del self._found_at[job_id]
            for answer in self._by_job.pop(job_id, ()):
                answer.ids.discard(job_id)
        if new:
            self._newest = now
            for answer in self._answers.values():
                answer.is_behind = True
            self.unknown.set()

    def query(self) -> VisibilityQuery | None:
        behind = [answer for answer in self._answers.values() if answer.is_behind]
        if not behind:
            return None
        since = min(answer.asked_at for answer in behind)
        job_ids = [job_id for job_id, at in self._found_at.items() if at > since]
        return VisibilityQuery(answers=behind, job_ids=job_ids, at=time.monotonic())

    def learn(self, question: VisibilityQuery, visible: Sequence[set[str]]) -> list[Change]:
        """Takes the result of `ask`."""
        changes = []
        for answer, ids in zip(question.answers, visible, strict=True):
            if self._answers.get(answer.key) is not answer:
                continue  # its streams have ended
            shown = (ids & self._found_at.keys()) - answer.ids
            self._add(answer, shown)
            changes.append(Change(list(self._subscribers.get(answer, ())), shown=shown))
            answer.asked_at = max(answer.asked_at, question.at)
            answer.is_behind = self._newest > answer.asked_at
        return changes

    def replace(self, subscription: Subscription, fresh: VisibleJobs) -> Change:
        """Takes a newer answer for the stream, and for others with the same query."""
        old = subscription.selection.visible
        if old is None or subscription not in self._members.get(old, ()):
            return Change()
        if fresh.key == old.key:
            return self._update(old, fresh)
        is_started = subscription in self._subscribers[old]
        self.leave(subscription)
        self.enter(subscription, fresh)
        if not is_started:
            return Change()
        self.start(subscription)
        new = self._answers[fresh.key]
        return Change([subscription], shown=new.ids - old.ids, hidden=old.ids - new.ids)

    def _update(self, answer: VisibleJobs, fresh: VisibleJobs) -> Change:
        hidden = {
            job_id
            for job_id in answer.ids - fresh.ids
            if self._found_at.get(job_id, 0.0) <= fresh.asked_at
        }
        shown = (fresh.ids & self._found_at.keys()) - answer.ids
        self._remove(answer, hidden)
        self._add(answer, shown)
        return Change(list(self._subscribers.get(answer, ())), shown=shown, hidden=hidden)

    def _add(self, answer: VisibleJobs, job_ids: set[str]) -> None:
        answer.ids |= job_ids
        for job_id in job_ids:
            self._by_job[job_id].add(answer)

    def _remove(self, answer: VisibleJobs, job_ids: set[str]) -> None:
        answer.ids -= job_ids
        self._forget(answer, job_ids)

    def _forget(self, answer: VisibleJobs, job_ids: set[str]) -> None:
        for job_id in job_ids & self._by_job.keys():
            self._by_job[job_id].discard(answer)
            if not self._by_job[job_id]:
                del self._by_job[job_id]
