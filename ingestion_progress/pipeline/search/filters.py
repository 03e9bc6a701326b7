"""The filters of a search, as conditions of the documents and pages that may be found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q, QuerySet
from django.db.models.fields.json import KeyTransform

from ingestion_progress.models import Job
from ingestion_progress.models.jobs import JobQuerySet
from ingestion_progress.pipeline.documents.access import values, with_jobs
from ingestion_progress.pipeline.models import Document, Edition


@dataclass(frozen=True, kw_only=True)
class SearchFilters:
    """A hit matches all that are given, and of each at least one value."""

    documents: Sequence[str] = ()
    """Ids."""
    batch: str = ""
    """Id of a batch; documents that one of its jobs ingests or has ingested."""
    media_types: Sequence[str] = ()
    pages: Sequence[int] = ()
    """Numbers of pages, from 1."""
    languages: Sequence[str] = ()
    """Codes of ISO 639, of chunks."""
    metadata: Sequence[tuple[str, str]] = ()
    """Keys and values of the job that has written what search shows. Here all have to match."""

    def chosen(self, jobs: JobQuerySet | None) -> QuerySet[Document] | None:
        """None: all documents. `jobs`: those that exist for the user; None: all."""
        visible = Job.objects.all() if jobs is None else jobs
        found = Document.objects.all()
        if self.documents:
            found = found.filter(pk__in=self.documents)
        if self.media_types:
            found = found.filter(media_type__in=self.media_types)
        if self.batch:
            found = with_jobs(found, visible.of_batch(self.batch))
        if self.metadata:
            writers = values(with_metadata(visible, self.metadata), "pk")
            published = Edition.objects.filter(
                epoch=F("document__published_epoch"), job_id__in=writers
            )
            found = found.filter(pk__in=published.values("document_id"))
        is_chosen = self.documents or self.media_types or self.batch or self.metadata
        return found if is_chosen else None


def with_metadata(jobs: JobQuerySet, pairs: Sequence[tuple[str, str]]) -> JobQuerySet:
    """The jobs whose metadata has these values, as text or as a number, true, false or null."""
    for number, (key, text) in enumerate(pairs):
        name = f"metadata_{number}"
        jobs = jobs.annotate(**{name: KeyTransform(key, "metadata")})
        condition = Q(**{name: text})
        for value in _literals(text):
            condition |= Q(**{name: value})
        jobs = jobs.filter(condition)
    return jobs


def _literals(text: str) -> list[Any]:
    try:
        value = json.loads(text, parse_constant=lambda name: name)
    except ValueError:
        return []
    return [value] if isinstance(value, bool | int | float) else []
