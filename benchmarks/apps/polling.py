"""Each client polls the ORM: an async view whose generator reads the job repeatedly."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "progress_project.settings")

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path
from django.utils import timezone

from benchmarks.apps.frame import JOB_ID
from benchmarks.apps.pacing import pause_seconds

application = get_asgi_application()
settings.ROOT_URLCONF = __name__


@sync_to_async
def read() -> bytes:
    from ingestion_progress.models import Job
    from ingestion_progress.wire.frames import single_job_frame
    from ingestion_progress.wire.snapshots import load_snapshots

    job = Job.objects.get(pk=JOB_ID)
    return single_job_frame(load_snapshots([job])[JOB_ID], timezone.now()).body


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def frames() -> AsyncIterator[bytes]:
        while True:
            yield await read()
            await asyncio.sleep(pause_seconds())

    return StreamingHttpResponse(frames(), content_type="text/event-stream")


urlpatterns = [path("", stream)]
