"""Parsed pages and descriptions of pictures of a running job, so that its next attempt need not
make them again.
"""

import json
import time
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from django.db import connections, router
from django.db.models import QuerySet

from ingestion_progress.concurrency.write_queue import write_transaction
from ingestion_progress.models import Job, rows_by
from ingestion_progress.pipeline.models import ImageDescription, ParsedPage
from ingestion_progress.pipeline.stages import Page

Result = TypeVar("Result")
Model: TypeAlias = type[ParsedPage] | type[ImageDescription]
MODELS: tuple[Model, ...] = (ParsedPage, ImageDescription)

WRITE_SECONDS = 0.5
# The limit of one job and stage. The next attempt makes again what exceeds it.
MAX_CHARACTERS = 100_000_000
DELETE = "DELETE FROM {table} WHERE job_id = %s"


class ResultStore(Generic[Result]):
    """Results of one stage of one job, for one version of its document."""

    model: ClassVar[Model]

    def __init__(self, job_id: str, version: str) -> None:
        self._job_id, self._version = job_id, version
        self._characters = 0
        self._unwritten: dict[int, str | None] = {}
        self._written_at = time.monotonic()

    def load(self) -> dict[int, Result]:
        """By index."""
        using = router.db_for_write(self.model)
        version = {"version": [self._version]}
        rows: list[Any] = rows_by(self.model, "job_id", [self._job_id], using=using, also=version)
        self._characters = sum(len(row.content) for row in rows)
        self.loaded(rows)
        return {row.index: self.decoded(row.content) for row in rows}

    def loaded(self, rows: list[Any]) -> None:
        """A hook: `load` calls it with the rows that an earlier attempt has stored."""

    def add(self, index: int, result: Result) -> bool:
        """Returns whether it is time to write."""
        content = self.encoded(result)
        has_room = self._characters + len(content) <= MAX_CHARACTERS
        self._characters += len(content) if has_room else 0
        self._unwritten[index] = content if has_room else None
        return time.monotonic() > self._written_at + WRITE_SECONDS

    def write(self, on_written: Callable[[int], object]) -> None:
        """Stores what was added, and calls `on_written` with each index."""
        rows = [
            self.row(job_id=self._job_id, version=self._version, index=index, content=content)
            for index, content in self._unwritten.items()
            if content is not None
        ]
        if rows:
            with write_transaction(router.db_for_write(self.model)):
                stored(self.model).bulk_create(rows, ignore_conflicts=True)
        for index in self._unwritten:
            on_written(index)
        self._unwritten = {}
        self._written_at = time.monotonic()

    def row(self, **fields: Any) -> Any:
        return self.model(**fields)

    def encoded(self, result: Result) -> str:
        raise NotImplementedError

    def decoded(self, content: str) -> Result:
        raise NotImplementedError


class PageStore(ResultStore[Page]):
    """Pages by index, from 0."""

    model = ParsedPage
    page_count = 0
    """The pages of the whole document; 0 while they are unknown."""

    def loaded(self, rows: list[ParsedPage]) -> None:
        self.page_count = max((row.page_count for row in rows), default=0)

    def row(self, **fields: Any) -> ParsedPage:
        return ParsedPage(page_count=self.page_count, **fields)

    def encoded(self, result: Page) -> str:
        return json.dumps(result.fields())

    def decoded(self, content: str) -> Page:
        return Page.from_fields(json.loads(content))


class DescriptionStore(ResultStore[str]):
    """Descriptions by number of the picture, from 1."""

    model = ImageDescription

    def encoded(self, result: str) -> str:
        return json.dumps(result)  # the database may refuse characters of a broken document

    def decoded(self, content: str) -> str:
        return str(json.loads(content))


def stored(model: Model) -> QuerySet[Any]:
    return QuerySet(model, using=router.db_for_write(model))


def delete_results(job_id: str) -> None:
    """One short statement for each model: no other process writes to SQLite meanwhile."""
    for model in MODELS:
        connection = connections[router.db_for_write(model)]
        table = connection.ops.quote_name(model._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(DELETE.format(table=table), [job_id])


def delete_results_of_ended_jobs() -> None:
    for model in MODELS:
        ids = set(stored(model).values_list("job_id", flat=True).distinct())
        if ids:
            ids -= set(Job.objects.active().filter(pk__in=ids).values_list("pk", flat=True))
        if ids:
            with write_transaction(router.db_for_write(model)):
                stored(model).filter(job_id__in=ids).delete()
