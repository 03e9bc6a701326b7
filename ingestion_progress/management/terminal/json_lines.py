"""Jobs as JSON: an object per change, as the stream of one or of many has it."""

from __future__ import annotations

from typing import Self

from django.core.management.base import OutputWrapper
from django.utils import timezone

from ingestion_progress.management.terminal.one_job import concern
from ingestion_progress.management.terminal.poll import Lookout, News
from ingestion_progress.wire.schemas import JobPipelineProgressEventData, WireModel
from ingestion_progress.wire.snapshots import Snapshot


class JsonLines:
    """States to the one output, and what is said beside them to the other."""

    def __init__(
        self, states: OutputWrapper, remarks: OutputWrapper, *, names_jobs: bool = True
    ) -> None:
        self._states = states
        self._remarks = remarks
        self._names_jobs = names_jobs
        self._said: dict[str, tuple[str, str]] = {}
        """The resume point and the concern of each active job, as they were last told."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing was opened."""

    def show(self, lookout: Lookout, news: News) -> None:
        for job_id, snapshot in news.items():
            if snapshot is None:
                self._said.pop(job_id, None)
                self._remarks.write(f"{job_id}  {lookout.unsuccessful[job_id]}")
            else:
                self.tell(snapshot)

    def conclude(self, words: str) -> None:
        self._remarks.write(words)

    def tell(self, snapshot: Snapshot) -> None:
        job, now = snapshot.job, timezone.now()
        cursor, note = self._said.pop(job.pk, ("", ""))
        if snapshot.cursor != cursor:
            data: WireModel = snapshot.progress(now)
            if self._names_jobs:
                data = JobPipelineProgressEventData(job_id=job.pk, **dict(data))
            self._states.write(data.model_dump_json())
            self._states.flush()
        concerning = concern(snapshot, now)
        if worry := job.error or (concerning if concerning != note else ""):
            self._remarks.write(f"{job.pk}  {worry}" if self._names_jobs else worry)
        if not job.is_finished:
            self._said[job.pk] = (snapshot.cursor, concerning)
