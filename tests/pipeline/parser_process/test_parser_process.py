"""Documents that crash, loop or explode, and what becomes of the process that reads them."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestion_progress.exceptions import JobCancelled
from ingestion_progress.pipeline.exceptions import (
    DamagedDocument,
    DocumentTooLarge,
    EmptyDocument,
    ParserUnavailable,
    UnreadablePage,
)
from ingestion_progress.pipeline.parser_process.connection import parser_process
from ingestion_progress.pipeline.parser_process.pages import ParsedPages
from tests.support.parsers import PATH

WAIT_SECONDS = 60.0


@contextlib.contextmanager
def opened(*lines: str, check: Callable[[], None] = lambda: None) -> Iterator[ParsedPages]:
    with tempfile.TemporaryFile() as file:
        file.write("\n".join(lines).encode())
        file.seek(0)
        with ParsedPages(PATH, file, "bees.txt", check) as pages:
            yield pages


def texts(pages: ParsedPages) -> list[str]:
    """A page that cannot be read is its error."""
    found = []
    for index in range(len(pages)):
        try:
            found.append(pages[index].text.partition(" (")[0])
        except UnreadablePage as error:
            found.append(str(error))
    return found


def pid_of(pages: ParsedPages, index: int = 0) -> int:
    return int(pages[index].text.partition("(")[2].rstrip(")"))


def has_ended(pid: int) -> bool:
    """Waits for it."""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_pages_are_read_in_another_process_and_in_any_order():
    with opened("one", "two", "three", "four") as pages:
        assert len(pages) == 4
        assert pid_of(pages, 3) not in (os.getpid(), parser_process())
        assert texts(pages) == ["one", "two", "three", "four"]
        assert pages[1].text.startswith("two")


def test_each_document_has_a_process_that_ends_with_it():
    with opened("one") as first, opened("one") as second:
        pids = {pid_of(first), pid_of(second)}
        assert len(pids) == 2
    assert all(map(has_ended, pids))


@pytest.mark.parametrize(
    ("action", "kind", "sentence"),
    [
        ("crash", DamagedDocument, "cannot be read: it is damaged, or of a rare kind."),
        ("raise", DamagedDocument, "cannot be read: it is damaged, or of a rare kind."),
        ("loop", DocumentTooLarge, "takes longer than 0.5 s to read. Divide it"),
        ("sleep", DocumentTooLarge, "takes longer than 3 s to read. Divide it"),
        ("grow", DocumentTooLarge, "needs more than 200 MB of memory to read. Divide it"),
    ],
)
def test_a_document_that_crashes_or_exceeds_a_limit_fails_and_the_next_one_is_read(
    settings, action, kind, sentence
):
    settings.INGESTION_PROGRESS_PARSER_CPU_SECONDS = 0.5
    settings.INGESTION_PROGRESS_PARSER_SECONDS = 3
    settings.INGESTION_PROGRESS_PARSER_MEMORY_BYTES = 200 * 1024 * 1024
    if action == "loop":
        settings.INGESTION_PROGRESS_PARSER_SECONDS = 60
    with pytest.raises(kind) as raised, opened(f"opening: {action}", "one"):
        pass
    assert sentence in str(raised.value)
    assert "srv" not in str(raised.value)
    settings.INGESTION_PROGRESS_PARSER_SECONDS = 60
    with opened("one") as pages:
        assert texts(pages) == ["one"]


@pytest.mark.parametrize("action", ["crash", "grow", "raise", "damaged"])
def test_a_page_that_ends_its_process_is_left_out(settings, action):
    settings.INGESTION_PROGRESS_PARSER_MEMORY_BYTES = 200 * 1024 * 1024
    with opened("one", action, "three", "four") as pages:
        one, error, three, four = texts(pages)
    assert (one, three, four) == ("one", "three", "four")
    assert error in (
        "Page 2 is damaged and was left out.",
        "Page 2 needs more than 200 MB of memory to read and was left out.",
        "This page is damaged.",
    )


def test_a_document_whose_pages_crash_again_and_again_is_refused():
    with opened(*["crash"] * 8) as pages, pytest.raises(DamagedDocument):
        texts(pages)


def test_an_unexpected_error_is_in_the_log_of_the_server_only(caplog):
    with opened("raise") as pages:
        assert texts(pages) == ["Page 1 is damaged and was left out."]
    (record,) = [record for record in caplog.records if record.message == "parser_failed"]
    assert "KeyError: '/srv/secret'" in record.traceback


def test_an_exception_of_a_parser_keeps_its_kind_and_its_sentence():
    with pytest.raises(EmptyDocument, match="too many bees"), opened("opening: refuse"):
        pass


def test_warnings_of_libraries_are_logged_by_the_worker(caplog):
    with opened("opening: log Opened.", "log 100 % bees.") as pages:
        texts(pages)
    logged = [(each.levelname, each.getMessage()) for each in caplog.records if each.name[0] == "a"]
    assert logged == [("WARNING", "Opened."), ("WARNING", "100 % bees.")]


@pytest.mark.parametrize("when", ["opening: loop", "loop"])
def test_a_cancellation_stops_a_parser_in_the_middle_of_a_page(when):
    """Even if it holds the lock of its interpreter."""
    checks = iter(range(10))

    def check() -> None:
        if next(checks, None) is None:
            raise JobCancelled("The job was cancelled.")

    with pytest.raises(JobCancelled), opened(when, "one", check=check) as pages:
        texts(pages)
    pid = parser_process()._process.pid
    assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""


def test_a_parser_reaches_no_other_file_and_no_network(tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        lines = (
            f"read {other}",
            f"read {sys.prefix}/../pyproject.toml",
            f"write {tmp_path}/new.txt",
            f"write {other}",
            f"connect {server.getsockname()[1]}",
        )
        with opened("one", *lines) as pages:
            assert texts(pages) == [
                "one",
                *(f"Page {number} is damaged and was left out." for number in range(2, 7)),
            ]
        with pytest.raises(BlockingIOError):
            server.accept()
    assert other.read_text() == "secret"
    assert not (tmp_path / "new.txt").exists()


def test_a_parser_process_that_was_killed_is_started_again():
    process = parser_process()
    with opened("one", "two") as pages:
        child = pid_of(pages)
        os.kill(process._process.pid, signal.SIGKILL)
        assert has_ended(child)
        with pytest.raises(ParserUnavailable):
            texts(pages)
    with opened("one") as pages:
        assert texts(pages) == ["one"]
    assert parser_process() is not process


def test_signals_of_a_supervisor_leave_the_document_to_the_worker():
    with opened("one", "two") as pages:
        for pid in (pid_of(pages), parser_process()._process.pid):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(pid, number)
        assert texts(pages) == ["one", "two"]


KILLED = """
import sys, time
from tests.pipeline.parser_process.test_parser_process import opened, pid_of, parser_process
import django
django.setup()
with opened("one", "loop") as pages:
    print(pid_of(pages), parser_process()._process.pid, flush=True)
    time.sleep(600)
"""


def test_a_worker_that_is_killed_leaves_no_process():
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        stdout=subprocess.PIPE,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "progress_project.settings"},
        text=True,
    )
    with worker:
        pids = worker.stdout.readline().split()
        worker.kill()
    assert len(pids) == 2
    assert all(has_ended(int(pid)) for pid in pids)


def test_a_forked_process_has_a_parser_process_of_its_own():
    parser_process()
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            with opened("one") as pages:
                found = f"{texts(pages)} {parser_process()._process.pid}"
        except BaseException as error:  # noqa: BLE001
            found = repr(error)
        os.write(writing, found.encode())
        os._exit(0)
    os.close(writing)
    text, _, number = os.read(reading, 1000).decode().partition("] ")
    os.waitpid(pid, 0)
    assert text == "['one'"
    assert int(number) != parser_process()._process.pid
    assert has_ended(int(number))
    with opened("one") as pages:
        assert texts(pages) == ["one"]
    os.close(reading)


def test_a_large_page_is_received_whole():
    with tempfile.TemporaryFile() as file:
        file.write(("Honig für die Bienen. " * 200_000).encode())
        path = "ingestion_progress.pipeline.stages.parsers.text.TextParser"
        file.seek(0)
        with ParsedPages(path, file, "a.txt") as pages:
            assert len(pages[0].text) == 4_400_000


def test_a_file_of_another_process_cannot_be_read():
    with pytest.raises(io.UnsupportedOperation):
        ParsedPages(PATH, io.BytesIO(b"one"), "bees.txt")


def test_a_folder_that_a_package_adds_to_the_path_is_not_that_of_the_parsers(monkeypatch):
    """OpenCV does, and the folder has a module `typing`."""
    folder = Path(sysconfig.get_path("purelib")) / "ingestion_progress_test"
    (folder / "typing").mkdir(parents=True)
    try:
        (folder / "typing" / "__init__.py").write_text("raise ImportError")
        monkeypatch.syspath_prepend(folder)
        parser_process().close()
        with opened("one") as pages:
            assert texts(pages) == ["one"]
    finally:
        shutil.rmtree(folder)
