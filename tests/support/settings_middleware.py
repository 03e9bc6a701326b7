"""The project behind middleware that could break streams: it compresses, and it is sync-only."""

from progress_project.settings import *  # noqa: F403

MIDDLEWARE = [
    "django.middleware.gzip.GZipMiddleware",
    *MIDDLEWARE,  # noqa: F405
    "tests.support.settings_middleware.sync_only_middleware",
]


def sync_only_middleware(get_response):
    """Uses session and user before and after the view, as many middleware do."""

    def middleware(request):
        request.session.get("anything")
        response = get_response(request)
        _ = request.user.is_authenticated
        return response

    return middleware
