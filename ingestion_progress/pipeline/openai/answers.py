"""Answers that were paid for, by their questions, in a table of bounded size."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import IntegrityError
from django.db.models import Sum

from ingestion_progress.exceptions import DATABASE_UNAVAILABLE
from ingestion_progress.models.clock import database_now
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.models import Document, ModelAnswer
from ingestion_progress.pipeline.retries import patiently
from ingestion_progress.tracker import JobTracker, current_job

# A use within this time of the last one is not written.
USED_AGAIN = timedelta(hours=1)
# After the deletion of the oldest answers, of the limit.
KEPT = 0.9
DELETED_AT_ONCE = 1000
CHECK_EVERY_SECONDS = 60.0


def key_of(question: Mapping[str, Any]) -> str:
    """`question`: all that the answer depends on, as JSON."""
    text = json.dumps({"endpoint": conf.openai_base_url, **question}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def stored_answer(key: str) -> Any:
    """None if there is none, or if no job asks."""
    return stored_answers([key]).get(key)


def stored_answers(keys: Sequence[str]) -> dict[str, Any]:
    """The stored answers by key; none if no job asks."""
    job = current_job()
    return {} if job is None else patiently(job, partial(_load, job, keys))


def store_answer(key: str, answer: Any) -> None:
    store_answers({key: answer})


def store_answers(answers: Mapping[str, Any]) -> None:
    """They are JSON. Leaves out those that exceed the limit, and all if no job asks."""
    job = current_job()
    if job is None:
        return
    contents = {key: json.dumps(answer) for key, answer in answers.items()}
    kept = {key: text for key, text in contents.items() if len(text) <= conf.openai_cache_bytes}
    if not kept:
        return
    try:
        _store(job, kept)  # also if the job is cancelled: the answers were paid for
    except DATABASE_UNAVAILABLE:
        patiently(job, partial(_store, job, kept))


def _load(job: JobTracker, keys: Sequence[str]) -> dict[str, Any]:
    found = ModelAnswer.objects.filter(pk__in=keys).values_list("pk", "content", "used_at")
    rows = list(found)
    now = database_now()
    if seldom := [key for key, _, used_at in rows if used_at < now - USED_AGAIN]:
        ModelAnswer.objects.filter(pk__in=seldom).update(used_at=now)
    if rows:
        job.count(answers_from_cache=len(rows))
    return {key: json.loads(content) for key, content, _ in rows}


def _store(job: JobTracker, contents: Mapping[str, str]) -> None:
    document = Document.objects.filter(pk=job.document_id).only("pk").first()
    now = database_now()
    rows = [
        ModelAnswer(
            key=key, document=document, content=content, size_bytes=len(content), used_at=now
        )
        for key, content in contents.items()
    ]
    try:
        ModelAnswer.objects.bulk_create(rows, ignore_conflicts=True)
    except IntegrityError:  # the document was deleted meanwhile
        return


class AnswerPruner:
    """Deletes the answers that were not used for longest when all exceed OPENAI_CACHE_BYTES."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_at = clock()

    def prune(self) -> int:
        """Looks once a minute. Returns how many it has deleted."""
        if self._clock() < self._due_at:
            return 0
        self._due_at = self._clock() + CHECK_EVERY_SECONDS
        size = ModelAnswer.objects.aggregate(size=Sum("size_bytes"))["size"] or 0
        if size <= conf.openai_cache_bytes:
            return 0
        return self._delete(size - int(KEPT * conf.openai_cache_bytes))

    def _delete(self, excess_bytes: int) -> int:
        deleted = 0
        while excess_bytes > 0:
            oldest = ModelAnswer.objects.order_by("used_at", "pk")
            chosen = []
            for key, size in oldest.values_list("pk", "size_bytes")[:DELETED_AT_ONCE]:
                chosen.append(key)
                excess_bytes -= size
                if excess_bytes <= 0:
                    break
            if not chosen:
                break
            deleted += ModelAnswer.objects.filter(pk__in=chosen).delete()[0]
        return deleted


answer_pruner = AnswerPruner()
