"""A project with uploads that may be larger than those of the pipeline: it counts their bytes."""

import os

from django.core.asgi import get_asgi_application

from ingestion_progress.asgi import BodyLimit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progress_project.settings")

LIMIT_BYTES = 8 * 1024 * 1024

django = get_asgi_application()


async def count(scope, receive, send):
    if scope["path"] != "/count":
        await django(scope, receive, send)
        return
    size, is_more = 0, True
    while is_more:
        message = await receive()
        size += len(message.get("body", b""))
        is_more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


application = BodyLimit(count, elsewhere_bytes=LIMIT_BYTES)
