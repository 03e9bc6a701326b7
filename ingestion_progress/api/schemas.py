"""The data that operations take and return: ids, links, queries and jobs in lists."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from django.db.models import Q, QuerySet
from django.urls import reverse
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from ingestion_progress.exceptions import NAME_RULE, InvalidJobId
from ingestion_progress.models import Batch, Job, JobEvent, clean_job_id
from ingestion_progress.models.about import ABOUT_PATTERN, NAME_OF_OBJECT, About
from ingestion_progress.wire.snapshots import Snapshot

StatusName = Literal["queued", "running", "succeeded", "failed", "cancelled", "lost"]
ResultName = Literal["succeeded", "partial", "failed", "cancelled", "lost"]
LivenessName = Literal["queued", "starved", "working", "stalled", "silent", "lost"]
LevelName = Literal["info", "warning", "error"]

MAX_LIMIT = 1000
MAX_OFFSET = 1_000_000

# What `clean_job_id` accepts, as far as a regular expression can describe it: printable characters
# beyond ASCII depend on Unicode categories, which JSON Schema and Python write differently.
_END = r"[^\x00-\x20\x7f-\xa0/\\]"
_INNER = r"[^\x00-\x1f\x7f-\xa0/\\]"
ID_PATTERN = rf"(?!\.\.?$){_END}(?:{_INNER}*{_END})?"


def valid_id(text: str) -> str:
    """The id itself; an invalid one becomes an entry of a 422."""
    try:
        return clean_job_id(text)
    except InvalidJobId as invalid:
        raise PydanticCustomError("id", NAME_RULE) from invalid


def valid_id_or_none(text: str | None) -> str | None:
    return valid_id(text) if text else None


def _id_schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", "maxLength": 255})


Id = Annotated[str, AfterValidator(valid_id), _id_schema(ID_PATTERN)]
# All may be empty. The operation checks a FormId or a BodyId, with an error code for it.
FormId = Annotated[str | None, _id_schema(f"(?:{ID_PATTERN})?")]
BodyId = Annotated[str, _id_schema(f"(?:{ID_PATTERN})?")]
OptionalId = Annotated[FormId, AfterValidator(valid_id_or_none)]


def split_commas(values: list[str]) -> list[str]:
    """`?a=x&a=y` and `?a=x,y` are the same."""
    return [item.strip() for value in values for item in value.split(",")]


class PageQuery(BaseModel):
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT, description="At most this many.")
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET, description="Skip this many first.")

    @property
    def slice(self) -> slice:
        return slice(self.offset, self.offset + self.limit)


class OwnerSchema(BaseModel):
    """The user to whom a job or a batch belongs."""

    id: str = Field(description="Primary key of the user.")
    name: str = Field(description="User name when it was created; may be empty.")

    @classmethod
    def of(cls, owned: Job | Batch) -> Self | None:
        if owned.owner_id is None:
            return None
        return cls(id=str(owned.owner_id), name=owned.owner_name)


class AboutSchema(BaseModel):
    """The object of the project that a job is about."""

    model: str = Field(description="As in `shop.order`.")
    id: str = Field(description="Primary key of the object.")

    @classmethod
    def of(cls, job: Job) -> Self | None:
        return cls(model=job.about_model, id=job.about_id) if job.about_model else None


def valid_about(text: str) -> str:
    """The text itself; an invalid one becomes an entry of a 422."""
    try:
        return text and str(About.parse(text))
    except ValueError as invalid:
        raise PydanticCustomError("about", NAME_OF_OBJECT) from invalid


AboutText = Annotated[
    str,
    AfterValidator(valid_about),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{ABOUT_PATTERN})?$", "maxLength": 510}),
]


class JobEventListQuery(PageQuery):
    level: Annotated[list[LevelName], BeforeValidator(split_commas)] = Field(
        default=[], description="Only these levels: repeated or comma-separated."
    )
    search: str = Field(
        default="", max_length=200, description="Only lines that contain this in message or item."
    )
    after: int = Field(default=0, ge=0, description="Only lines that were written after this one.")
    before: int = Field(
        default=0, ge=0, description="Only lines that were written before this one; 0: all."
    )
    newest: bool = Field(
        default=False, description="The newest lines instead of the oldest; also oldest first."
    )

    def of(self, job: Job) -> QuerySet[JobEvent]:
        """The lines of the job that fit, oldest first."""
        events = JobEvent.objects.filter(job=job, id__gt=self.after).order_by("id")
        if self.before:
            events = events.filter(id__lt=self.before)
        if self.level:
            events = events.filter(level__in=self.level)
        if self.search:
            in_item = Q(item__icontains=self.search)
            events = events.filter(in_item | Q(message__icontains=self.search))
        return events

    def page(self, events: QuerySet[JobEvent]) -> list[JobEvent]:
        return list(events.reverse()[self.slice])[::-1] if self.newest else list(events[self.slice])


class JobLinksSchema(BaseModel):
    job: str = Field(description="The job as JSON.")
    progress: str = Field(description="Its stream of Server-Sent Events.")
    snapshot: str = Field(description="The newest `pipeline_progress` as plain JSON, to poll.")
    events: str = Field(description="Its log.")
    errors: str = Field(description="Its errors, grouped.")
    cancellation: str = Field(description="POST here to stop it.")
    retry: str = Field(description="POST here to start it again after its end.")
    page: str = Field(description="Its live page.")


LINK_NAMES = {
    "job": "ingestion_progress:api:job",
    "progress": "ingestion_progress:job_progress",
    "snapshot": "ingestion_progress:api:job_snapshot",
    "events": "ingestion_progress:api:job_events",
    "errors": "ingestion_progress:api:job_errors",
    "cancellation": "ingestion_progress:api:job_cancellation",
    "retry": "ingestion_progress:api:job_retry",
    "page": "ingestion_progress:job_detail",
}


def job_links(job_id: str) -> JobLinksSchema:
    """Paths from the root of the site, which are valid behind any proxy."""
    return JobLinksSchema(**{key: reverse(name, args=[job_id]) for key, name in LINK_NAMES.items()})


class JobSchema(BaseModel):
    """A job in a list."""

    job_id: str
    document_id: str
    document_name: str
    batch: str | None = Field(description="The id of its batch: jobs that belong together.")
    owner: OwnerSchema | None = Field(description="null for a job that belongs to nobody.")
    about: AboutSchema | None = Field(description="null for a job about no object.")
    metadata: dict[str, JsonValue] = Field(description="The project's own data about the job.")
    status: StatusName
    liveness: LivenessName | None = Field(description="null once the job has ended.")
    waiting_for: str | None = Field(description="The service that it waits for, if it does.")
    attempt: int = Field(ge=1)
    overall_progress_percent: float = Field(ge=0, le=100)
    result: ResultName | None = Field(
        description="How it ended; `partial`: it succeeded, but some of its items failed."
    )
    error_count: int = Field(ge=0, description="Errors recorded so far; they need not end a job.")
    failed_items: int = Field(ge=0, description="Items that failed in this attempt.")
    error: str | None = Field(description="Why the job ended without success.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    links: JobLinksSchema


class CreatedJobSchema(BaseModel):
    job_id: str
    document_id: str
    status: StatusName
    links: JobLinksSchema


class JobEventSchema(BaseModel):
    """One line of a job's log."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    attempt: int
    at: datetime
    level: LevelName
    stage: str = Field(description="Empty if the line concerns the whole job.")
    item: str = Field(description="The page or chunk concerned; may be empty.")
    message: str


class JobEventListSchema(BaseModel):
    items: list[JobEventSchema]
    total: int = Field(ge=0)
    limit: int
    offset: int


def job_fields(snapshot: Snapshot, now: datetime) -> dict[str, Any]:
    job = snapshot.job
    liveness = job.liveness(now)
    return {
        "job_id": job.id,
        "document_id": job.document_id,
        "document_name": job.document_name,
        "batch": job.batch or None,
        "owner": OwnerSchema.of(job),
        "about": AboutSchema.of(job),
        "metadata": job.metadata,
        "status": job.job_status.value,
        "liveness": liveness.value if liveness else None,
        "waiting_for": job.awaited_service(now) or None,
        "attempt": job.attempt,
        "overall_progress_percent": snapshot.overall_percent,
        "result": job.result.value if job.result else None,
        "error_count": job.error_count,
        "failed_items": job.failed_items,
        "error": job.error or None,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "links": job_links(job.id),
    }


def describe_job(snapshot: Snapshot, now: datetime) -> JobSchema:
    return JobSchema(**job_fields(snapshot, now))


def describe_created_job(job: Job) -> CreatedJobSchema:
    fields: dict[str, Any] = {
        "job_id": job.id,
        "document_id": job.document_id,
        "status": job.job_status.value,
        "links": job_links(job.id),
    }
    return CreatedJobSchema(**fields)
