"""Where a job is found: addresses from the root of the site, right behind any proxy."""

from __future__ import annotations

from django.urls import reverse
from pydantic import BaseModel, Field


class JobLinksSchema(BaseModel):
    job: str = Field(description="All about the job, as JSON.")
    progress: str = Field(description="Its stream of Server-Sent Events.")
    snapshot: str = Field(description="The newest `pipeline_progress` as plain JSON, to poll.")
    events: str = Field(description="Its log.")
    cancellation: str = Field(description="POST here to stop it.")
    page: str = Field(description="Its live page.")


LINK_NAMES = {
    "job": "ingestion_progress:api:job",
    "progress": "ingestion_progress:job_progress",
    "snapshot": "ingestion_progress:api:job_snapshot",
    "events": "ingestion_progress:api:job_events",
    "cancellation": "ingestion_progress:api:job_cancellation",
    "page": "ingestion_progress:job_detail",
}


def job_links(job_id: str) -> JobLinksSchema:
    return JobLinksSchema(**{key: reverse(name, args=[job_id]) for key, name in LINK_NAMES.items()})
