"""Checks of how a hop answers: is it there, is it the application, does it leave it as it is?"""

from __future__ import annotations

from ingestion_progress.auth import permissions
from ingestion_progress.management.doctor.endpoints import mount_path
from ingestion_progress.management.doctor.findings import Check, Finding
from ingestion_progress.management.doctor.http import End, Reading
from ingestion_progress.management.doctor.observations import Observation
from ingestion_progress.management.doctor.sse import arrivals

REACHABLE = Check("reachable", "Reachable")
HTTP_VERSION = Check("http_version", "HTTP version")
APPLICATION = Check("application", "Answered by the application")
HEADERS = Check("headers", "Headers")
CORS = Check("cors", "Other origins")
ERRORS = Check("errors", "Errors left as they are")

SIX_STREAMS = "a browser opens at most six streams in all its tabs"


def reachable(seen: Observation) -> Finding:
    if seen.greeting.end is not End.FAILED:
        return REACHABLE.ok("TLS, certificate counts" if seen.hop.is_tls else "without TLS")
    fixes = {
        "its certificate": "Give the server the whole chain (nginx: ssl_certificate with the "
        "intermediate certificates), for this name.",
        "no TLS": "Use the http:// address, or make the server speak TLS there.",
        "its name": "Check the name, and DNS on this machine.",
        "nothing listens": "Start the server, or correct the port.",
    }
    error = seen.greeting.error
    fix = next((fix for start, fix in fixes.items() if error.startswith(start)), "")
    return REACHABLE.problem(error, fix or "Check address, port and firewall from this machine.")


def http_version(seen: Observation) -> Finding:
    if seen.greeting.version == 10:
        return HTTP_VERSION.warning(
            "HTTP/1.0: a stream that was cut looks like one that ended",
            "Let this server answer in HTTP/1.1.",
        )
    if not seen.hop.is_public:
        return HTTP_VERSION.ok("HTTP/1.1, which is enough between servers")
    if seen.alpn == "h2":
        return HTTP_VERSION.ok("HTTP/2: a browser may open any number of streams")
    if seen.hop.is_tls:
        fix = "nginx: listen 443 ssl http2;"
    else:
        fix = "Browsers speak HTTP/2 only over TLS. nginx: listen 443 ssl http2;"
    return HTTP_VERSION.warning(f"HTTP/1.1: {SIX_STREAMS}", fix)


def application(seen: Observation) -> Finding:
    """Judges the stream of a job that does not exist: 200, and an event that says so."""
    answer = seen.greeting
    if answer.is_stream:
        return APPLICATION.ok(f"200, {answer.content_type}")
    shown = f"{answer.status}, {answer.content_type or 'no content type'}"
    if b'"asgi_required"' in answer.body:
        return APPLICATION.problem(
            f"{shown}: it runs under WSGI, which cannot hold streams open",
            "Start it with uvicorn, granian or daphne (docs/deployment.md) instead of gunicorn, "
            "uWSGI, mod_wsgi or runserver.",
        )
    if seen.is_token_refused or answer.status in {401, 403}:
        return APPLICATION.problem(f"{shown}: the token does not count there", _token_fix(seen))
    if 300 <= answer.status < 400:
        target = answer.header("Location")
        return APPLICATION.problem(
            f"{answer.status} to {target.partition('?')[0] or 'nowhere'}",
            "Give the address that it leads to: EventSource follows, but every reconnect pays. "
            "Behind a proxy that speaks TLS: BEHIND_PROXY=true and X-Forwarded-Proto."
            if target
            else "Look at what answers there.",
        )
    return APPLICATION.problem(shown, _mount_fix(seen) or _status_fix(answer))


def _token_fix(seen: Observation) -> str:
    return (
        "Run the doctor with the settings of the site (SECRET_KEY, TOKEN_KEY), or give it a token "
        "for all jobs: manage.py stream_token --all. "
        "If a proxy asks for a login of its own, let the stream pass."
    )


def _mount_fix(seen: Observation) -> str:
    """Empty where the path of the address is not the one of the URLconf."""
    url = seen.hop.url_without_mount
    if not url:
        return ""
    return (
        f"The project's URLconf has the app below {mount_path()}/, and the doctor adds that: give "
        f"{url} instead."
    )


def _status_fix(answer: Reading) -> str:
    match answer.status:
        case 400:
            return "Add the host name to ALLOWED_HOSTS, or proxy_set_header Host $host;"
        case 404:
            return (
                "This path does not lead to the application. Give the address with the path below "
                "which the site lies, and set FORCE_SCRIPT_NAME to it; nginx: check location and "
                "proxy_pass."
            )
        case 502 | 503 | 504:
            return "The proxy does not reach the application: check proxy_pass, and that it runs."
        case 200:
            return "Something else answers for this path; nginx: check location and proxy_pass."
        case _:
            return "Look into the log of the server that answers there."


def headers(seen: Observation) -> Finding:
    cache, age = seen.greeting.header("Cache-Control"), seen.greeting.header("Age")
    accel = seen.greeting.header("X-Accel-Buffering")
    if age or "no-cache" not in cache.lower():
        evidence = f"Age: {age}, from a cache" if age else f"Cache-Control: {cache or 'missing'}"
        return HEADERS.problem(
            evidence,
            "Leave Cache-Control as the application has it. nginx: proxy_cache off; and no "
            "expires or add_header Cache-Control for this location.",
        )
    if accel:
        return HEADERS.ok(f"Cache-Control: {cache}, X-Accel-Buffering: {accel}")
    if seen.hop.is_public:
        return HEADERS.ok(f"Cache-Control: {cache}; X-Accel-Buffering was used up by a proxy")
    return HEADERS.ok(f"Cache-Control: {cache}; no X-Accel-Buffering, so a proxy is in between")


def cors(seen: Observation) -> Finding:
    allowed = seen.greeting.header("Access-Control-Allow-Origin")
    if "," in allowed:
        return CORS.problem(
            f"Access-Control-Allow-Origin: {allowed}, which browsers refuse",
            "Let one of the two add it: remove add_header Access-Control-Allow-Origin from the "
            "proxy.",
        )
    if not allowed and permissions.is_open():
        return CORS.problem(
            "Access-Control-Allow-Origin is missing, and the site is public in these settings",
            "Do not hide it in the proxy (proxy_hide_header); run the doctor with the settings of "
            "the site.",
        )
    return CORS.ok(allowed or "none may read it, as configured")


def errors(seen: Observation) -> Finding:
    """An error must reach its client as the application wrote it, in JSON or as an event."""
    names = [(event.name, event.data.get("code")) for event in arrivals(seen.greeting)]
    if names != [("error", "not_found")]:
        return ERRORS.problem(
            "the stream of an unknown job does not say so",
            "Something rewrites the body; look at what stands in front of the application.",
        )
    answer = seen.missing
    shown = f"{answer.status or 'none'}, {answer.content_type or answer.error or 'no type'}"
    if answer.status != 404 or answer.content_type != "application/json":
        return ERRORS.problem(
            f"an unknown job's 404 in JSON arrives as {shown}",
            "nginx: proxy_intercept_errors off; and no error_page for this location.",
        )
    return ERRORS.ok(f"unknown job: an event in the stream, {shown} elsewhere")
