"""`GET …/progress`: the progress of all active jobs, or of those that are named, in one stream."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from ingestion_progress.conf import conf
from ingestion_progress.feed import Feed, Selection, Subscriber
from ingestion_progress.views.event_stream import StreamView
from ingestion_progress.views.stream import READING_METHODS, answer, last_event_id, refusal

ALL_JOBS = ("",)
"""What `access` is asked about a stream of all jobs."""


@StreamView
@login_not_required  # `access` decides
@csrf_exempt  # it only reads, and says so in JSON to whoever tries to write
@transaction.non_atomic_requests
def jobs_progress(request: HttpRequest) -> HttpResponseBase:
    """The stream, or a refusal as JSON before any stream starts.

    `?jobs=a,b` names jobs, `?batch=` those that were started together, `?until=idle` has the
    stream end with the last of them.
    """
    names, until = named_jobs(request.GET.get("jobs")), request.GET.get("until", "")
    batch = request.GET.get("batch", "")
    if request.method in READING_METHODS and (problem := problem_with(names, batch, until)):
        return refusal(request, "bad_request", problem)

    def subscribe(feed: Feed) -> Subscriber:
        return feed.subscribe_to_many(
            Selection(
                names=names,
                batch=batch,
                is_until_idle=until == "idle",
                last_event_id=last_event_id(request),
            )
        )

    return answer(request, ALL_JOBS if names is None else names, subscribe)


def named_jobs(text: str | None) -> tuple[str, ...] | None:
    """The ids of a list with commas, in its order, each once; None where there is no list."""
    if text is None:
        return None
    return tuple(dict.fromkeys(filter(None, text.split(","))))


def problem_with(names: tuple[str, ...] | None, batch: str, until: str) -> str:
    """What is wrong with the question, as a sentence; empty if nothing is."""
    if until not in {"", "idle"}:
        return "A stream ends with ?until=idle or by itself."
    if names is not None and batch:
        return "Name jobs in ?jobs=, or those of a ?batch=, not both."
    if names is not None and not names:
        return "Name jobs in ?jobs=, or leave it out to watch all that are active."
    if names is not None and len(names) > conf.max_jobs_per_stream:
        return f"One stream may name {conf.max_jobs_per_stream} jobs, and these are {len(names)}."
    return ""
