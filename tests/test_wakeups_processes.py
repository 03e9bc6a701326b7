"""Wake-ups where they matter: writers and web servers in processes of their own."""

from __future__ import annotations

import threading
import time
import uuid

import httpx
import pytest

from tests.event_streams import events, open_stream, progress_url

# So rare that whatever arrives sooner was not found by a poll.
RARE_POLLS = {"POLL_INTERVAL_SECONDS": "8", "THROTTLE_SECONDS": "0.05", "LOG_FORMAT": "json"}
SOON_SECONDS = 3.0
QUEUE = """
    import json, sys
    from ingestion_progress.tracker import queue_job
    print(json.dumps(queue_job("a.pdf", job_id=sys.argv[1]).pk))
"""


@pytest.fixture
def job_id() -> str:
    return uuid.uuid4().hex


def test_request_that_writes_wakes_the_streams_of_its_own_process(project, job_id):
    server = project.serve("uvicorn", **RARE_POLLS)
    project.output_of(QUEUE, job_id)
    url = progress_url(server.url, job_id)
    with open_stream(url) as response:
        stream = events(response)
        assert next(stream).name == "pipeline_progress"

        cancellation = url.removesuffix("progress") + "cancellation"
        asked = threading.Thread(target=httpx.post, args=[cancellation])
        began_at = time.monotonic()
        asked.start()
        assert "error" in [event.name for event in stream]
        assert time.monotonic() - began_at < SOON_SECONDS
        asked.join()
