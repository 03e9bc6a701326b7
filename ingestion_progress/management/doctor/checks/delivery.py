"""Checks whether the probe job's stream arrives at once, unchanged and complete, and resumes."""

from ingestion_progress.conf import conf
from ingestion_progress.management.doctor.checks import Finding, check, ok, problem, skip, warning
from ingestion_progress.management.doctor.checks.reach import SITE_SETTINGS, UNCHANGED_BODY
from ingestion_progress.management.doctor.run import ProbeResult, allowed_seconds, silence_seconds
from ingestion_progress.management.doctor.sse import events, has_several_members

READ_LOG = "Read the log of the application."
REFUSAL_FIXES = {
    "not_found": f"The site reads another database. {SITE_SETTINGS} (DATABASE_URL).",
    "too_many_streams": "Wait until fewer streams are open, or raise MAX_STREAMS or its limit per "
    "user or address.",
}
# A stream that the application ends early closes with a `retry:` line.
LAST_BYTES = 40
UNBUFFERED = (
    "Switch response buffering off for text/event-stream. nginx: proxy_buffering off; and no "
    "proxy_ignore_headers X-Accel-Buffering."
)
UNCOMPRESSED = (
    "Let only the application compress. nginx: gzip off; in this location, no text/event-stream "
    "in gzip_types, and no proxy_hide_header Content-Encoding."
)


@check("job", "Probe job received")
def job(result: ProbeResult) -> Finding:
    if result.states:
        return ok(f"{len(result.states)} states")
    for event in result.events:
        if event.name == "error":
            code = str(event.data.get("code", ""))
            fix = REFUSAL_FIXES.get(code, READ_LOG)
            return problem(f"{code}: {event.data.get('message', '')}", fix)
    if result.plain.encoding:
        return skip("the stream is compressed")
    if not result.plain.status or result.plain.is_stream:
        return problem("no event arrived, not even at the end", UNBUFFERED)
    return problem(result.plain.summary, READ_LOG)


@check("buffering", "Not buffered", needs_states=True)
def buffering(result: ProbeResult) -> Finding:
    delays, count = result.delays(result.plain), len(result.due)
    longest = max(delays.values(), default=0.0)
    if result.is_in_time(result.plain):
        return ok(f"states arrive within {longest:.2f} s")
    if len(delays) < count:
        evidence = f"{count - len(delays)} of {count} states never arrived"
    elif len({state.at for state in result.states}) == 1:
        evidence = f"all {count} states arrived together, the first {longest:.1f} s late"
    else:
        evidence = f"a state arrived {longest:.1f} s after it was written"
    return problem(f"{evidence} (allowed: {allowed_seconds():.1f} s)", UNBUFFERED)


@check("ids", "Event ids", needs_states=True)
def ids(result: ProbeResult) -> Finding:
    missing = sum(not state.id for state in result.states)
    if missing:
        return problem(f"{missing} of {len(result.states)} states have none", UNCHANGED_BODY)
    return ok("every state has one")


@check("compression", "Compression")
def compression(result: ProbeResult) -> Finding:
    unwanted, encoding = result.plain.encoding, result.gzipped.encoding
    if unwanted:
        evidence = f"Content-Encoding: {unwanted}, which the client did not ask for"
        return problem(evidence, UNCOMPRESSED)
    if not encoding:
        return ok("none, also for a client that accepts gzip")
    if encoding != "gzip":
        evidence = f"Content-Encoding: {encoding}, for a client that accepts only gzip"
        return problem(evidence, UNCOMPRESSED)
    if has_several_members(result.gzipped):
        return problem(
            "each event is a separate gzip member, and browsers read only the first",
            "Remove GZipMiddleware from MIDDLEWARE, or exempt the stream from it.",
        )
    return _gzip(result)


def _gzip(result: ProbeResult) -> Finding:
    delays = result.delays(result.gzipped)
    longest = max(delays.values(), default=0.0)
    if not result.is_in_time(result.gzipped):
        if not result.is_in_time(result.plain):
            return ok("gzip, no later than without")
        late = f"{longest:.1f} s late" if delays else "unreadable"
        return problem(f"gzip, and the events are {late}", UNCOMPRESSED)
    if conf.is_compressed:
        return ok(f"gzip, states arrive within {longest:.2f} s")
    return warning(
        f"gzip by a proxy, states arrive within {longest:.2f} s",
        "It compresses for each viewer; COMPRESSED=true compresses once for all. " + UNCOMPRESSED,
    )


@check("keepalive", "Keep-alive", needs_states=True)
def keepalive(result: ProbeResult) -> Finding:
    if result.is_closed_early:
        return _closed_early(result)
    if not result.is_in_time(result.plain):
        return skip("states arrive late already")
    if not result.silent_since:
        return skip("left out by --quick")
    if result.keepalive_at:
        return ok(f"arrived after {result.keepalive_at - result.silent_since:.1f} s")
    return problem(
        f"none in {silence_seconds():.1f} s, although KEEPALIVE_SECONDS is "
        f"{conf.keepalive_seconds:g} in these settings",
        f"{SITE_SETTINGS}. If these are the same, a proxy buffers small chunks. {UNBUFFERED}",
    )


def _closed_early(result: ProbeResult) -> Finding:
    silence = result.plain.ended_at - max(event.at for event in result.events)
    body = result.plain.body
    # The first `retry:` comes with the first event.
    if body.count(b"retry:") > 1 and b"retry:" in body[-LAST_BYTES:]:
        return warning(
            f"the application ended the stream after {silence:.1f} s of silence",
            "It was shutting down, or MAX_STREAM_SECONDS is short. Run the doctor again.",
        )
    interval = conf.keepalive_seconds
    return problem(
        f"closed after {silence:.1f} s of silence; a keep-alive is sent every {interval:g} s",
        "Raise the read timeout to several keep-alives, or lower KEEPALIVE_SECONDS. nginx: "
        f"proxy_read_timeout {max(60.0, interval * 4):g}s; HAProxy: timeout server; "
        "load balancers: idle timeout.",
    )


@check("ending", "End of the stream", needs_states=True)
def ending(result: ProbeResult) -> Finding:
    if result.completed_at is None:
        return skip("the stream closed before the job ended")
    plain, gzipped = ({event.name for event in events(each)} for each in result.streams)
    if "complete" not in plain:
        return problem("the event complete never arrived", UNBUFFERED)
    # If no event can be read, the check of compression says so.
    if gzipped and "complete" not in gzipped:
        return problem("with gzip, the event complete never arrived", UNCOMPRESSED)
    if result.plain.is_open:
        evidence = f"still open {allowed_seconds():.1f} s after the event complete"
        return problem(evidence, "Let the proxy close its connection when the application does.")
    if error := result.plain.error:
        return problem(f"cut off: {error}", "Read the logs of the proxy and of the application.")
    seconds = max(0.0, result.plain.ended_at - result.completed_at)
    return ok(f"event complete, closed after {seconds:.2f} s")


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
