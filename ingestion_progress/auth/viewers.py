"""Tells a page which other tabs of the browser have the same viewer."""

from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from ingestion_progress.auth import permissions

SALT = "ingestion_progress.viewer"


def viewer_key(request: HttpRequest) -> str:
    """Names the credentials of a page's viewer: tabs of one browser with the same key share their
    streams. Empty if nothing names them, as with headers of a proxy.
    """
    session_key = getattr(getattr(request, "session", None), "session_key", None) or ""
    credentials = f"{permissions.user_id_of(request)} {session_key}".strip()
    if not credentials and not permissions.is_open():
        return ""
    return salted_hmac(SALT, credentials, algorithm="sha256").hexdigest()
