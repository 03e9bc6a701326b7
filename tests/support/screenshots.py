"""Pictures of every page and state of a project that runs for them; see `scripts/screenshots`."""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.chromium import FLAGS, find_chromium
from tests.support.live import ROOT, LiveProject, LiveServer, live_project
from tests.support.simulated import simulated

FOLDER = ROOT / "var" / "screenshots"
IMAGES = ROOT / "docs" / "images"
DOCUMENTS = ROOT / "examples" / "documents"
SIZES = {"wide": {"width": 1280, "height": 900}, "phone": {"width": 360, "height": 740}}
THEMES = ("light", "dark")
STATUSES = ("queued", "running", "succeeded", "failed", "cancelled", "lost")
ADMIN = "/admin/ingestion_progress/job"
SEED = """
import json
from django.contrib.auth import get_user_model, login
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from ingestion_progress.models.statuses import JobStatus
from ingestion_progress.tracker import create_batch
from tests.support.page_jobs import job_with
create_batch(batch_id="Reports of May")
for status in JobStatus:
    error = "The file is not a PDF." if status.is_final and status != "succeeded" else ""
    job_with(status, job_id=f"state-{status}", error=error, batch="Reports of May")
request = HttpRequest()
request.session = SessionStore()
user = get_user_model().objects.create_superuser("operator")
login(request, user, "django.contrib.auth.backends.ModelBackend")
request.session.save()
print(json.dumps(request.session.session_key))
"""
RECORDING = {"width": 1000, "height": 880}
RECORDED_SIZE = (750, 660)
FRAMES = 40
FRAME_SECONDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readme", action="store_true", help="also those of the README")
    is_for_readme = parser.parse_args().readme
    with running_project() as (project, server), chromium() as browser:
        key = ingest_and_seed(project)
        cookie = {"name": "sessionid", "value": key, "url": server.url}
        if is_for_readme:
            make_readme_pictures(browser, project, server)
        with simulated(project, "--seconds=600") as job_id:
            time.sleep(5)  # until its first stage runs
            for name, path in pages(job_id).items():
                take(browser, server, name, path, cookie)
    print(f"Pictures are in {FOLDER.relative_to(ROOT)}.")


@contextmanager
def running_project() -> Iterator[tuple[LiveProject, LiveServer]]:
    with tempfile.TemporaryDirectory() as name:
        database = f"sqlite:///{Path(name) / 'progress.sqlite3'}"
        env = {"PUBLIC": "true", "DEBUG": "true"}
        with live_project(Path(name), database, **env) as project:
            yield project, project.serve("uvicorn")


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        yield browser
        browser.close()


def ingest_and_seed(project: LiveProject) -> str:
    """Jobs of real documents, and one of each status. Returns the session of a superuser."""
    paths = sorted(path for path in DOCUMENTS.iterdir() if path.suffix in {".pdf", ".md", ".txt"})
    for path in paths:
        project.manage("ingest", "--job-id", path.stem, str(path), timeout=300)
    return str(project.ask(SEED))


def pages(running: str) -> dict[str, str]:
    return {
        "list": "/",
        "list-failed": "/?status=failed",
        "list-empty": "/?batch=none",
        "list-longest": "/?sort=longest",
        "batches": "/batches/",
        "batch": "/?batch=Reports+of+May",
        "job-live": f"/jobs/{running}/",
        "job-document": "/jobs/reportlab-userguide/",
        "job-not-found": "/jobs/nobody/",
        "job-confirmation": "/jobs/state-failed/?confirm=deletion",
        "result": "/jobs/reportlab-userguide/result/",
        **{f"job-{status}": f"/jobs/state-{status}/" for status in STATUSES},
        "search": "/search/?q=table+style",
        "search-empty": "/search/",
        "search-nothing": "/search/?q=qqqqzzzz",
        "login": "/login/",
        "admin-list": f"{ADMIN}/",
        "admin-job": f"{ADMIN}/state-failed/change/",
    }


def take(browser: Browser, server: LiveServer, name: str, path: str, cookie: Any) -> None:
    """One picture for each theme and size."""
    for theme in THEMES:
        for size, viewport in SIZES.items():
            with opened(browser, server, path, cookie, theme=theme, viewport=viewport) as page:
                file = FOLDER / f"{name}-{theme}-{size}.png"
                page.screenshot(path=file, full_page=True)
                print(file.relative_to(ROOT))


@contextmanager
def opened(
    browser: Browser,
    server: LiveServer,
    path: str,
    cookie: Any = None,
    *,
    theme: str,
    **options: Any,
) -> Iterator[Page]:
    context = browser.new_context(base_url=server.url, color_scheme=theme, **options)
    if cookie and path != "/login/":
        context.add_cookies([cookie])
    page = context.new_page()
    page.goto(path)
    page.wait_for_timeout(1500)  # what the stream sends first, and what scripts add
    yield page
    context.close()


def make_readme_pictures(browser: Browser, project: LiveProject, server: LiveServer) -> None:
    size: dict[str, Any] = {"viewport": SIZES["wide"], "theme": "light"}
    with opened(browser, server, "/search/?q=table+style", **size) as page:
        save(IMAGES / "search.png", page.screenshot())
    with simulated(project, "--seconds=60") as job_id:
        record(browser, server, f"/jobs/{job_id}/")
        with opened(browser, server, f"/jobs/{job_id}/", **size) as page:
            save(IMAGES / "job.png", page.screenshot(full_page=True))
        with opened(browser, server, "/", **size) as page:
            save(IMAGES / "list.png", page.screenshot())


def save(path: Path, picture: bytes) -> None:
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(64).save(path, optimize=True)
    print(path.relative_to(ROOT))


def record(browser: Browser, server: LiveServer, path: str) -> None:
    """A recording of some seconds, as a GIF."""
    frames = []
    with opened(browser, server, path, theme="light", viewport=RECORDING) as page:
        for _ in range(FRAMES):
            frame = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            frames.append(frame.resize(RECORDED_SIZE, Image.Resampling.LANCZOS).quantize(32))
            page.wait_for_timeout(FRAME_SECONDS * 1000)
    file = IMAGES / "progress.gif"
    milliseconds = int(FRAME_SECONDS * 1000)
    frames[0].save(
        file, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, optimize=True
    )
    print(file.relative_to(ROOT))


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    with suppress(KeyboardInterrupt):
        main()
