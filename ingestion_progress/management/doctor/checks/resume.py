"""Checks whether the header and the query string of a reconnect reach the application."""

from ingestion_progress.management.doctor.checks import Finding, check, ok, problem, skip
from ingestion_progress.management.doctor.run import ProbeResult

QUERY_FIX = (
    "Pass the query string on: it carries tokens. nginx: proxy_pass without a path, or with "
    "$is_args$args at its end; CDNs: forward all query strings."
)


@check("resume", "Resume after reconnect", needs_states=True)
def resume(result: ProbeResult) -> Finding:
    """A client that has the final state gets 204, which stops its EventSource."""
    by_header = result.resumed_by_header
    if by_header.status == 204:
        return ok("Last-Event-ID arrives: 204, nothing new")
    if result.resumed_by_query.status == 204:
        return problem(
            f"Last-Event-ID does not arrive: {by_header.summary} instead of 204",
            "Pass the header on. nginx: remove proxy_set_header Last-Event-ID; CDNs: forward it.",
        )
    return problem(
        f"{by_header.summary} instead of 204, with the header and with the URL",
        "Pass Last-Event-ID and the query string on; check the rules of each proxy.",
    )


@check("query", "Query string")
def query(result: ProbeResult) -> Finding:
    if result.is_query_lost:
        return problem("the token is accepted in Authorization, but not in the URL", QUERY_FIX)
    if not result.states:
        return skip("no state arrived")
    by_query = result.resumed_by_query
    if by_query.status == 204:
        return ok("arrives")
    return problem(f"last_event_id does not arrive: {by_query.summary} instead of 204", QUERY_FIX)
