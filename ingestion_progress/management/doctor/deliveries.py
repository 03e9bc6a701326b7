"""Checks of what came through a stream: when, whole, as it was written, and how it ended."""

from __future__ import annotations

from ingestion_progress.conf import conf
from ingestion_progress.management.doctor.findings import Check, Finding
from ingestion_progress.management.doctor.http import End
from ingestion_progress.management.doctor.observations import (
    Observation,
    allowed_seconds,
    is_timely,
    lateness,
)
from ingestion_progress.management.doctor.sse import arrivals, has_several_members

JOB = Check("job", "The marked job")
BUFFERING = Check("buffering", "Handed on at once")
IDS = Check("ids", "Ids of events")
COMPRESSION = Check("compression", "Compression")
KEEPALIVE = Check("keepalive", "Silence outlived")
ENDING = Check("ending", "End of the stream")

REFUSALS = {
    "not_found": "The site reads another database: run the doctor with the settings of the site "
    "(DATABASE_URL).",
    "too_many_streams": "Wait until there are fewer streams, or raise MAX_STREAMS and its kin.",
}
# `retry:` stands there where the application has parted from a client.
LAST_BYTES = 40
UNBUFFERED = (
    "nginx: proxy_buffering off; and no proxy_ignore_headers X-Accel-Buffering. Elsewhere: switch "
    "response buffering off for text/event-stream."
)
UNCOMPRESSED = (
    "nginx: gzip off; for this location, no text/event-stream in gzip_types, and no "
    "proxy_hide_header Content-Encoding."
)


def job(seen: Observation) -> Finding:
    if seen.is_job_seen:
        received = sum(event.name == "pipeline_progress" for event in seen.events)
        return JOB.ok(f"{received} states received")
    refusals = [event.data for event in seen.events if event.name == "error"]
    if refusals:
        code = str(refusals[0].get("code", ""))
        fix = REFUSALS.get(code, "Look into the log of the application.")
        return JOB.problem(f"{code}: {refusals[0].get('message', '')}", fix)
    if seen.plain.encoding:
        return JOB.skipped("compressed")
    if not seen.plain.status or seen.plain.is_stream:
        return JOB.problem("nothing of it came, not even at its end", UNBUFFERED)
    return JOB.problem(
        f"{seen.plain.status}, {seen.plain.content_type}", "Look into the log of the application."
    )


def buffering(seen: Observation) -> Finding:
    late, count = lateness(seen.plain, seen.written), len(seen.due)
    if not seen.is_job_seen:
        return BUFFERING.skipped("no state came")
    worst = max(late.values(), default=0.0)
    if not seen.is_held_back:
        return BUFFERING.ok(f"{worst:.2f} s after it was written, at the latest")
    arrived = {event.at for event in seen.events if event.name == "pipeline_progress"}
    if len(late) < count:
        evidence = f"{count - len(late)} of {count} states never came"
    elif len(arrived) == 1:
        evidence = f"all {count} states came together, the first {worst:.1f} s late"
    else:
        evidence = f"a state came {worst:.1f} s after it was written"
    return BUFFERING.problem(f"{evidence} (allowed: {allowed_seconds():.1f} s)", UNBUFFERED)


def ids(seen: Observation) -> Finding:
    states = [event for event in seen.events if event.name == "pipeline_progress"]
    if not states:
        return IDS.skipped("no state came")
    if all(state.id for state in states):
        return IDS.ok("every state has one")
    missing = sum(not state.id for state in states)
    return IDS.problem(
        f"{missing} of {len(states)} states have none",
        "Something rewrites the events; look at what stands in front of the application.",
    )


def compression(seen: Observation) -> Finding:
    if seen.plain.encoding:
        return COMPRESSION.problem(
            f"Content-Encoding: {seen.plain.encoding}, for a client that did not ask for it",
            UNCOMPRESSED,
        )
    encoding = seen.packed.encoding
    if not encoding:
        return COMPRESSION.ok("none, also for a client that takes gzip")
    if encoding != "gzip":
        return COMPRESSION.problem(
            f"Content-Encoding: {encoding}, for a client that takes gzip", UNCOMPRESSED
        )
    if has_several_members(seen.packed):
        return COMPRESSION.problem(
            "each event is a gzip file of its own, of which browsers read the first",
            "Remove GZipMiddleware from MIDDLEWARE, or keep it off the stream.",
        )
    return _gzip(seen)


def _gzip(seen: Observation) -> Finding:
    late = lateness(seen.packed, seen.written)
    if not is_timely(late, seen.due):
        if not is_timely(lateness(seen.plain, seen.written), seen.due):
            return COMPRESSION.ok("gzip, no later than without")
        worst = f"{max(late.values()):.1f} s late" if late else "unreadable"
        return COMPRESSION.problem(f"gzip, and its events are {worst}", UNCOMPRESSED)
    seconds = max(late.values(), default=0.0)
    timely = f"each event can be read when it comes, {seconds:.2f} s after it was written"
    if conf.is_compressed:
        return COMPRESSION.ok(f"gzip; {timely}")
    return COMPRESSION.warning(
        f"gzip on the way; {timely}",
        f"It costs memory and time for each viewer, and COMPRESSED=true does not. {UNCOMPRESSED}",
    )


def keepalive(seen: Observation) -> Finding:
    if seen.is_job_seen and seen.is_closed_early:
        return _closed_early(seen)
    if seen.silent_since is None:
        return KEEPALIVE.skipped("held back anyway" if seen.is_held_back else "not waited for")
    for event in seen.keepalives:
        if (seconds := event.at - seen.silent_since) > 0:
            return KEEPALIVE.ok(f"a keepalive came after {seconds:.1f} s")
    return KEEPALIVE.problem(
        f"no keepalive in {seen.silence_over_at - seen.silent_since:.1f} s, although "
        f"KEEPALIVE_SECONDS is {conf.keepalive_seconds:g} in these settings",
        "Run the doctor with the settings of the site. If they are the same, a proxy holds "
        f"small pieces back. {UNBUFFERED}",
    )


def _closed_early(seen: Observation) -> Finding:
    silence = seen.plain.ended_at - max(event.at for event in seen.events)
    # One comes at the beginning of every stream.
    if seen.plain.body.count(b"retry:") > 1 and b"retry:" in seen.plain.body[-LAST_BYTES:]:
        return KEEPALIVE.warning(
            f"the application itself ended the stream, after {silence:.1f} s of silence",
            "It was being stopped, or MAX_STREAM_SECONDS is short. Try again.",
        )
    several = max(60.0, conf.keepalive_seconds * 4)
    return KEEPALIVE.problem(
        f"closed after {silence:.1f} s of silence; a keepalive comes every "
        f"{conf.keepalive_seconds:g} s",
        "Make the timeout several keepalives long, or KEEPALIVE_SECONDS smaller. nginx: "
        f"proxy_read_timeout {several:g}s; HAProxy: timeout server; load balancers: idle timeout.",
    )


def ending(seen: Observation) -> Finding:
    if not seen.is_job_seen:
        return ENDING.skipped("no state came")
    if seen.completed_at is None:
        return ENDING.skipped("the stream was closed before its end")
    if not any(event.name == "complete" for event in seen.events):
        return ENDING.problem("the event complete never came", UNBUFFERED)
    packed = arrivals(seen.packed)
    # Where nothing of it can be read, that is the compression's fault.
    if packed and not any(event.name == "complete" for event in packed):
        return ENDING.problem("compressed, the event complete never came", UNCOMPRESSED)
    return _close(seen, seen.completed_at)


def _close(seen: Observation, completed_at: float) -> Finding:
    match seen.plain.end:
        case End.NOT_YET:
            return ENDING.problem(
                f"still open {allowed_seconds():.1f} s after the event complete",
                "A proxy keeps the connection open after the application has closed it.",
            )
        case End.CUT:
            return ENDING.problem(
                f"cut off: {seen.plain.error}", "Look into the logs of the hops for the reason."
            )
        case _:
            seconds = max(0.0, seen.plain.ended_at - completed_at)
            return ENDING.ok(f"complete, and closed after {seconds:.2f} s")
