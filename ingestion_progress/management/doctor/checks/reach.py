"""Checks whether requests reach the application, and whether its response is unchanged."""

from ingestion_progress.auth import permissions
from ingestion_progress.management.doctor.checks import Finding, check, ok, problem, skip, warning
from ingestion_progress.management.doctor.run import ProbeResult
from ingestion_progress.management.doctor.sse import events

CONNECTION_FIXES = {
    "the certificate": "Install a certificate of this name with its whole chain. nginx: "
    "ssl_certificate names the file.",
    "no TLS": "Use the http:// address, or enable TLS on this port.",
    "the host name": "Correct the name, or DNS on this machine.",
    "nothing listens": "Start the server, or correct the port.",
}
STATUS_FIXES = {
    200: "Something else answers at this path. nginx: check location and proxy_pass.",
    400: "Add the host name to ALLOWED_HOSTS. nginx: proxy_set_header Host $host;",
    404: "Give the address with the path of the site, and set FORCE_SCRIPT_NAME to that path. "
    "nginx: check location and proxy_pass.",
} | dict.fromkeys((502, 503, 504), "Start the application, and check the address in proxy_pass.")
SITE_SETTINGS = "Run the doctor with the settings of the site"
QUERY_FIX = (
    "Pass the query string on: it carries tokens. nginx: proxy_pass without a path, or with "
    "$is_args$args at its end; CDNs: forward all query strings."
)
UNCHANGED_BODY = "Stop the proxy from changing response bodies."


@check("reachable", "Reachable")
def reachable(result: ProbeResult) -> Finding:
    if result.unknown_stream.status:
        return ok("TLS with a trusted certificate" if result.endpoint.is_tls else "without TLS")
    error = result.unknown_stream.summary
    fixes = (fix for start, fix in CONNECTION_FIXES.items() if error.startswith(start))
    return problem(error, next(fixes, "Check address, port and firewall from this machine."))


@check("http_version", "HTTP version")
def http_version(result: ProbeResult) -> Finding:
    if result.unknown_stream.version == 10:
        evidence = "HTTP/1.0: clients cannot tell a stream that broke from one that ended"
        return warning(evidence, "Let this server answer in HTTP/1.1.")
    if not result.endpoint.is_public:
        return ok("HTTP/1.1, enough between servers")
    if result.preferred_protocol == "h2":
        return ok("HTTP/2: a browser may open any number of streams")
    tls = "" if result.endpoint.is_tls else "Enable TLS, which browsers require for HTTP/2. "
    evidence = "HTTP/1.1: a browser opens at most six streams in all its tabs"
    return warning(evidence, f"{tls}nginx: listen 443 ssl http2;")


@check("application", "Answered by the application")
def application(result: ProbeResult) -> Finding:
    """The answer to an unknown job is a stream too: 200, and an error event."""
    response = result.unknown_stream
    if response.is_stream:
        return ok(response.summary)
    if b'"asgi_required"' in response.body:
        return problem(
            f"{response.summary}: the application runs under WSGI, which cannot stream",
            "Start it with uvicorn, granian or daphne (docs/deployment.md) instead of gunicorn, "
            "uWSGI, mod_wsgi or runserver.",
        )
    if response.status in {401, 403}:
        return problem(
            f"{response.summary}: the token is not accepted",
            f"{SITE_SETTINGS} (SECRET_KEY, TOKEN_KEY), or give it --token from manage.py "
            "stream_token --all. If a proxy asks for a login, exempt the stream from it.",
        )
    target = response.header("Location").partition("?")[0]
    if target and 300 <= response.status < 400:
        return problem(
            f"{response.status}, redirects to {target}",
            "Give the address it redirects to: EventSource repeats the redirect on each reconnect. "
            "Behind a proxy with TLS set BEHIND_PROXY=true and send X-Forwarded-Proto.",
        )
    fix = STATUS_FIXES.get(response.status, "Read the log of the server at this address.")
    if mount := result.endpoint.repeated_mount:
        fix = (
            f"The project's URLconf includes the app below {mount}/, and the doctor adds that: "
            f"give {result.endpoint.url.removesuffix(f'/{mount}')} instead."
        )
    return problem(response.summary, fix)


@check("headers", "Not cached")
def headers(result: ProbeResult) -> Finding:
    response = result.unknown_stream
    cache, age = response.header("Cache-Control"), response.header("Age")
    if age or "no-cache" not in cache.lower():
        return problem(
            f"Age: {age}, from a cache" if age else f"Cache-Control: {cache or 'missing'}",
            "Pass Cache-Control on unchanged. nginx: proxy_cache off; and no expires or "
            "add_header Cache-Control in this location.",
        )
    accel = response.header("X-Accel-Buffering") or "removed by a proxy"
    return ok(f"Cache-Control: {cache}, X-Accel-Buffering: {accel}")


@check("cors", "CORS")
def cors(result: ProbeResult) -> Finding:
    name = "Access-Control-Allow-Origin"
    allowed = result.unknown_stream.header(name)
    if "," in allowed:
        fix = f"Remove add_header {name} from the proxy: the application sends it already."
        return problem(f"{name}: {allowed}, which browsers reject", fix)
    if not allowed and permissions.is_open():
        evidence = f"{name} is missing, although these settings make the site public"
        fix = f"{SITE_SETTINGS}. If these are the same, remove proxy_hide_header {name}."
        return problem(evidence, fix)
    return ok(allowed or "no other origin is allowed, as configured")


@check("errors", "Errors passed through")
def errors(result: ProbeResult) -> Finding:
    """Errors travel as an event in a stream, elsewhere as JSON."""
    codes = [(event.name, event.data.get("code")) for event in events(result.unknown_stream)]
    if codes != [("error", "not_found")]:
        return problem("the stream of an unknown job lacks its error event", UNCHANGED_BODY)
    response = result.unknown_snapshot
    if response.status != 404 or response.content_type != "application/json":
        fix = "nginx: proxy_intercept_errors off; and no error_page in this location."
        return problem(f"the 404 in JSON of an unknown job arrives as {response.summary}", fix)
    return ok("unknown job: an error event in the stream, 404 in JSON elsewhere")


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
