"""What a client asks of a stream by headers and by the query string."""

import re
from functools import reduce
from operator import and_

from django.db.models import Q
from django.http import HttpRequest

from ingestion_progress.auth import permissions
from ingestion_progress.conf import conf
from ingestion_progress.models.about import About

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


def has_condition(request: HttpRequest) -> bool:
    return bool(request.GET.get("about") or request.GET.get("owner"))


def problem_with_condition(request: HttpRequest, names: tuple[str, ...] | None) -> str:
    """What is wrong with `?about=` and `?owner=`, as a sentence; empty if nothing is."""
    if names is not None and has_condition(request):
        return "Name jobs in ?jobs=, or filter by ?about= or ?owner=, not both."
    if about := request.GET.get("about"):
        try:
            About.parse(about)
        except ValueError as invalid:
            return str(invalid)
    return ""


def condition_of(request: HttpRequest) -> Q | None:
    """The condition of `?about=` and `?owner=`; None without both. May query for the user."""
    conditions = []
    if about := request.GET.get("about"):
        conditions.append(About.parse(about).condition)
    if owner := request.GET.get("owner"):
        owner_id = permissions.chosen_user_id(request, owner)
        conditions.append(Q(pk__in=[]) if owner_id is None else Q(owner_id=owner_id))
    return reduce(and_, conditions) if conditions else None
