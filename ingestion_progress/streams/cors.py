"""CORS: the other origins that may read a stream."""

from django.http import HttpRequest

from ingestion_progress.auth import permissions
from ingestion_progress.conf import conf


def cors_headers(request: HttpRequest) -> dict[str, str]:
    """`*` if streams are public; otherwise the request's origin, if it is in CORS_ORIGINS."""
    if permissions.is_open():
        return {"Access-Control-Allow-Origin": "*"}
    origin = request.headers.get("Origin", "")
    if origin not in conf.cors_origins:
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": origin,
        # A stream that is not public needs the session cookie.
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


def preflight_headers(request: HttpRequest) -> dict[str, str]:
    """The answer to a browser's preflight request."""
    return cors_headers(request) | {
        "Access-Control-Allow-Methods": "GET",
        "Access-Control-Allow-Headers": "Authorization, Cache-Control, Last-Event-ID",
        "Access-Control-Max-Age": "86400",
    }
