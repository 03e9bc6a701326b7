"""What a client asks of a stream by headers and by the query string."""

import re

from django.http import HttpRequest

from ingestion_progress.conf import conf

REFUSED_WEIGHT = re.compile(r"q=0(\.0*)?")


def last_event_id(request: HttpRequest) -> str:
    """The cursor to resume from: a header, or a parameter for clients that cannot set headers."""
    return request.headers.get("Last-Event-ID") or request.GET.get("last_event_id", "")


def encoding_for(request: HttpRequest) -> str:
    """`gzip` if the client accepts it and COMPRESSED is true; otherwise `identity`."""
    for offer in request.headers.get("Accept-Encoding", "").lower().split(","):
        name, _, weight = offer.partition(";")
        if name.strip() == "gzip" and not REFUSED_WEIGHT.fullmatch(weight.strip()):
            return "gzip" if conf.is_compressed else "identity"
    return "identity"


def named_jobs(text: str | None) -> tuple[str, ...] | None:
    """The ids of a comma-separated list, in its order, each once; None if there is no list."""
    if text is None:
        return None
    return tuple(dict.fromkeys(filter(None, text.split(","))))


def problem_with(names: tuple[str, ...] | None, batch: str, until: str) -> str:
    """What is wrong with the query string, as a sentence; empty if nothing is."""
    if until not in {"", "idle"}:
        return "?until= must be idle, or be left out."
    if names is not None and batch:
        return "Name jobs in ?jobs=, or those of a ?batch=, not both."
    if names is not None and not names:
        return "Name jobs in ?jobs=, or leave it out to watch all that are active."
    if names is not None and len(names) > conf.max_jobs_per_stream:
        return f"One stream may name {conf.max_jobs_per_stream} jobs, and these are {len(names)}."
    return ""
