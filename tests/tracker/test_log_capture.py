"""What tasks log by `logging` in their blocks."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import copy_context

import pytest
from django.utils import timezone

from ingestion_progress import attach, current_job, track
from ingestion_progress.models import Job, JobEvent
from ingestion_progress.recovery.rescue import report_death
from ingestion_progress.testing import synchronous_tracking
from ingestion_progress.tracker.attempts import this_process
from ingestion_progress.tracker.log_capture import (
    MAX_CAPTURED_LINES,
    TOO_MANY,
    CaptureHandler,
)
from tests.support.tracking import eventually, quick_writer  # noqa: F401

logger = logging.getLogger("shop.ingest")

MILESTONES = ("Started", "Succeeded")
NO_NUMBER = "invalid literal for int() with base 10: 'three'"


@pytest.fixture(autouse=True)
def all_levels():
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(logging.NOTSET)
    assert not any(isinstance(each, CaptureHandler) for each in logging.getLogger().handlers)


def lines(job_id: str = "job") -> list[tuple[str, str]]:
    """Level and message of what was captured."""
    events = JobEvent.objects.filter(job_id=job_id).order_by("id")
    found = events.values_list("level", "message")
    return [each for each in found if not each[1].startswith(MILESTONES)]


@pytest.mark.django_db
@pytest.mark.database
class TestBlock:
    @pytest.fixture(autouse=True)
    def write_at_once(self):
        with synchronous_tracking():
            yield

    def test_records_from_the_level_on_become_lines_of_the_log(self):
        with track("a.pdf", job_id="job", capture_logs=logging.INFO):
            logger.debug("unseen")
            logger.info("Page %d", 3)
            logger.warning("slow")
            try:
                int("three")
            except ValueError:
                logger.exception("Page %d failed", 4)
        logger.info("after the block")
        assert lines() == [
            ("info", "shop.ingest: Page 3"),
            ("warning", "shop.ingest: slow"),
            ("error", f"shop.ingest: Page 4 failed: ValueError: {NO_NUMBER}"),
        ]
        job = Job.objects.get()
        assert (job.error_count, job.failed_items) == (0, 0)

    def test_nothing_is_captured_without_the_option(self):
        with track("a.pdf", job_id="job"):
            logger.error("unseen")
        assert lines() == []

    def test_secrets_are_removed_and_a_filter_of_the_project_decides(self):
        with track("a.pdf", job_id="job", capture_logs=logging.INFO):
            logger.info("password=hunter2 user=anna")
        ((_, text),) = lines()
        assert "hunter2" not in text
        assert "user=anna" in text

        def only_pages(text: str) -> str | None:
            return text.upper() if "page" in text else None

        with track("b.pdf", job_id="b", capture_logs=logging.INFO, log_filter=only_pages):
            logger.info("page 1")
            logger.info("something else")
        assert lines("b") == [("info", "SHOP.INGEST: PAGE 1")]

    def test_a_filter_or_a_record_that_raises_stops_nothing(self, capsys):
        def broken(text: str) -> str:
            raise RuntimeError("a mistake in the filter")

        with track("a.pdf", job_id="job", capture_logs=logging.INFO, log_filter=broken):
            logger.info("one")
        assert lines() == []
        with track("b.pdf", job_id="b", capture_logs=logging.INFO):
            CaptureHandler().handle(
                logging.LogRecord("x", logging.INFO, "", 0, "%d", ("text",), None)
            )
            logger.info("two")
        assert lines("b") == [("info", "shop.ingest: two")]
        assert "a mistake in the filter" in capsys.readouterr().err

    def test_number_and_length_of_lines_are_limited(self):
        with track("a.pdf", job_id="job", capture_logs=logging.INFO):
            logger.info("x" * 10_000)
            for number in range(MAX_CAPTURED_LINES + 10):
                logger.info("line %d", number)
        found = lines()
        assert len(found) == MAX_CAPTURED_LINES + 1
        assert len(found[0][1]) == 2000
        assert found[-1] == ("warning", TOO_MANY)

    def test_each_job_gets_the_records_of_its_own_block(self):
        with track("a.pdf", job_id="outer", capture_logs=logging.INFO):
            logger.info("one")
            with track("b.pdf", job_id="inner", capture_logs=logging.INFO):
                logger.info("two")
            with track("c.pdf", job_id="quiet"):
                logger.info("three")
            with attach("outer"):
                logger.info("four")
        assert [text for _, text in lines("outer")] == ["shop.ingest: one", "shop.ingest: four"]
        assert [text for _, text in lines("inner")] == ["shop.ingest: two"]
        assert lines("quiet") == []

    def test_what_is_logged_while_a_line_is_stored_is_left_out(self):
        seen = []

        def note(text: str) -> str:
            seen.append(text)
            logger.info("noted")
            return text

        with track("a.pdf", job_id="job", capture_logs=logging.INFO, log_filter=note):
            logger.info("one")
            logger.info("two")
        assert seen == ["shop.ingest: one", "shop.ingest: two"]

    def test_records_of_the_app_and_of_its_queries_are_left_out(self, caplog):
        caplog.set_level(logging.DEBUG, logger="django.db.backends")
        with track("a.pdf", job_id="job", capture_logs=logging.DEBUG):
            logging.getLogger("ingestion_progress.tracker").error("own")
            logger.info("one")
        assert ("info", "shop.ingest: one") in lines()
        assert not any("own" in text or "INSERT" in text for _, text in lines())

    def test_fields_of_structlog_are_readable(self):
        with track("a.pdf", job_id="job", capture_logs=logging.INFO):
            counts = {"page": 3, "failed": 0}
            fields = {"event": "page_read", **counts, "level": "info", "_record": object()}
            logger.info(fields)
        assert lines() == [("info", "shop.ingest: page_read page=3 failed=0")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
class TestThreads:
    def test_other_threads_are_not_captured_and_copies_of_the_context_are(self):
        def work(text: str) -> None:
            logger.info(text)

        with track("a.pdf", job_id="job", capture_logs=logging.INFO):
            for target, args in ((work, ["other"]), (copy_context().run, [work, "own"])):
                thread = threading.Thread(target=target, args=args)
                thread.start()
                thread.join()
        assert [text for _, text in lines()] == ["shop.ingest: own"]

    def test_coroutines_log_to_their_own_jobs(self):
        async def ingest(name: str) -> None:
            async with track(name, job_id=name, capture_logs=logging.INFO):
                for number in range(3):
                    await asyncio.sleep(0)
                    logger.info("%s %d", name, number)

        async def main() -> None:
            await asyncio.gather(ingest("a"), ingest("b"))

        asyncio.run(main())
        for name in ("a", "b"):
            assert [text for _, text in lines(name)] == [
                f"shop.ingest: {name} {number}" for number in range(3)
            ]

    def test_what_an_attempt_had_said_is_there_after_its_death(self):
        with track("a.pdf", job_id="job", task="a.task", capture_logs=logging.INFO):
            logger.info("the last words")
            eventually(lambda: lines() != [])
            Job.objects.update(heartbeat_at=timezone.now())
            # The pass skips a row that a flush of this process locks.
            eventually(lambda: report_death(this_process()).lost == 1)
            current_job().buffer.is_over = True
            current_job().has_ended = True
        job = Job.objects.get()
        assert (job.status, job.attempt) == ("queued", 2)
        event = JobEvent.objects.get(message__contains="last words")
        assert event.attempt == 1
