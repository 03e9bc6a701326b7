"""Parsed pages of a running job, so that its next attempt need not parse them again."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict

from django.db import router
from django.db.models import QuerySet

from ingestion_progress.models import Job
from ingestion_progress.pipeline.models import ParsedPage
from ingestion_progress.pipeline.stages import Page, Picture

WRITE_SECONDS = 0.5


class PageStore:
    """The pages of one job and one version of its document."""

    def __init__(self, job_id: str, version: str) -> None:
        self._job_id, self._version = job_id, version
        self._unwritten: dict[int, Page] = {}
        self._written_at = time.monotonic()

    def load(self) -> dict[int, Page]:
        """By index, from 0."""
        rows = stored_pages().filter(job_id=self._job_id, version=self._version)
        return {index: _page(content) for index, content in rows.values_list("index", "content")}

    def add(self, index: int, page: Page) -> bool:
        """Returns whether it is time to write."""
        self._unwritten[index] = page
        return time.monotonic() > self._written_at + WRITE_SECONDS

    def write(self, on_written: Callable[[int], object]) -> None:
        """Stores what was added, and calls `on_written` with each index."""
        rows = [
            ParsedPage(
                job_id=self._job_id,
                version=self._version,
                index=index,
                content=json.dumps(asdict(page)),
            )
            for index, page in self._unwritten.items()
        ]
        stored_pages().bulk_create(rows, ignore_conflicts=True)
        for index in self._unwritten:
            on_written(index)
        self._unwritten = {}
        self._written_at = time.monotonic()


def stored_pages() -> QuerySet[ParsedPage]:
    return ParsedPage.objects.using(router.db_for_write(ParsedPage))


def delete_pages_of_ended_jobs() -> None:
    ids = set(stored_pages().values_list("job_id", flat=True).distinct())
    if ids:
        ids -= set(Job.objects.active().filter(pk__in=ids).values_list("pk", flat=True))
        stored_pages().filter(job_id__in=ids).delete()


def _page(content: str) -> Page:
    fields = json.loads(content)
    pictures = tuple(Picture(**picture) for picture in fields.pop("pictures"))
    return Page(pictures=pictures, warnings=tuple(fields.pop("warnings")), **fields)
