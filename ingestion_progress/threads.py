"""The threads in which the synchronous parts of requests for streams run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor


class SharedThread(ThreadPoolExecutor):
    """One thread that several requests use at a time; it belongs to none of them."""

    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix="ingestion-progress-streams")
