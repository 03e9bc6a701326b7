"""Checks of a client's return: what it says about itself has to reach the application."""

from __future__ import annotations

from ingestion_progress.management.doctor.findings import Check, Finding
from ingestion_progress.management.doctor.http import Reading
from ingestion_progress.management.doctor.observations import Observation

RESUME = Check("resume", "Resumption")
QUERY = Check("query", "Query string")


def resume(seen: Observation) -> Finding:
    """Whoever has the final state is told so by 204, which tells EventSource to stop."""
    if not seen.is_job_seen:
        return RESUME.skipped("no state came")
    if seen.resumed.status == 204:
        return RESUME.ok("Last-Event-ID arrives: 204, there is nothing new")
    if seen.queried.status == 204:
        return RESUME.problem(
            f"Last-Event-ID is lost on the way: {_shown(seen.resumed)} instead of 204",
            "Let the header pass. nginx: no proxy_set_header Last-Event-ID; with another value; "
            "CDNs: add it to the headers that are forwarded.",
        )
    return RESUME.problem(
        f"{_shown(seen.resumed)} instead of 204, with the header and with the URL",
        "Let Last-Event-ID and the query string pass; look at what stands in front.",
    )


def query(seen: Observation) -> Finding:
    fix = (
        "Hand the query on: tokens travel in it. nginx: proxy_pass without a path of its own, or "
        "$is_args$args at its end; CDNs: forward all query strings."
    )
    if seen.is_query_lost:
        return QUERY.problem("a token counts in the header Authorization and not in the URL", fix)
    if not seen.is_job_seen:
        return QUERY.skipped("no state came")
    if seen.queried.status == 204:
        return QUERY.ok("arrives")
    return QUERY.problem(
        f"?last_event_id= is lost on the way: {_shown(seen.queried)} instead of 204", fix
    )


def _shown(answer: Reading) -> str:
    return f"{answer.status}, {answer.content_type}" if answer.status else answer.error
